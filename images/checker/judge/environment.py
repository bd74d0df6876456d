"""The environment that the application's programs get: what the container has, and nothing of this program's own."""

from __future__ import annotations

from collections.abc import Mapping

_TAKEN = ("PATH", "HOME", "TMPDIR", "TZ", "LANG", "LC_ALL", "PYTHONHASHSEED", "USER")
NODE_MODULES = "/usr/share/nodejs"
"""Where Debian keeps Node's packages."""


def of_programs(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a program of the application's.

    Args:
        environment: this program's own.
    """
    kept = {name: environment[name] for name in _TAKEN if name in environment}
    return {
        "HOME": "/tmp",  # noqa: S108  # the container's own, of a size, for this check alone
        **kept,
        "NODE_PATH": NODE_MODULES,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    }


def of_application(environment: Mapping[str, str], port: int) -> dict[str, str]:
    """Return the variables for the application: the port under the names that its kinds look for."""
    told = {"PORT": str(port), "HOST": "127.0.0.1", "FLASK_RUN_PORT": str(port), "UVICORN_PORT": str(port)}
    return {**of_programs(environment), **told}
