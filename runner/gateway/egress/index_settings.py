"""Where this machine's pip finds packages, so that a step may be given the same."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

_DEFAULT = re.compile(r"--index-url <url>.*?\(default ([^)\s]+)\)")
"""Where pip's help, on one line, says where it looks if nothing else is said."""
_SECTIONS = frozenset({"global", "install", "download"})


@dataclass(frozen=True, kw_only=True)
class IndexSettings:
    """Addresses of package indexes, the main one first, and how their certificates are checked."""

    urls: tuple[str, ...] = field(repr=False)
    """Without a slash at the end; a password may stand in them."""
    certificates: str | None = None
    """File of certificate authorities; None: those of the system."""


def index_settings(environment: Mapping[str, str]) -> IndexSettings:
    """Return what pip on this machine uses: its configuration files, then PIP_* variables, which are stronger.

    Folders that stand in for an index are left out: they state no upload times.

    Args:
        environment: the caller's environment.
    """
    found = pip_config(environment)
    default = "" if environment.get("PIP_INDEX_URL") or found.get("INDEX_URL") else _default_index(environment)
    return merge_settings(found, environment, default)


def merge_settings(found: Mapping[str, str], environment: Mapping[str, str], default: str) -> IndexSettings:
    """Return what options of pip's files, its variables, and its default for the index come to."""

    def setting(name: str) -> str:
        return environment.get(f"PIP_{name}") or found.get(name, "")

    urls = [*(setting("INDEX_URL") or default).split()[:1], *setting("EXTRA_INDEX_URL").split()]
    web = dict.fromkeys(url.rstrip("/") for url in urls if url.startswith(("http://", "https://")))
    return IndexSettings(urls=tuple(web), certificates=setting("CERT") or None)


def pip_config(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the options in pip's configuration files that count when it installs or downloads, like INDEX_URL.

    `pip config list` is asked, so that every place pip looks at counts: lines `section.key='value'`, later ones
    stronger. Empty if there is no pip here.
    """
    found = {}
    for line in _pip(environment, "config", "list").splitlines():
        key, separator, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if separator and section in _SECTIONS:
            found[name.upper().replace("-", "_")] = " ".join(str(ast.literal_eval(value)).split())
    return found


def _default_index(environment: Mapping[str, str]) -> str:
    """Return the index that pip uses by itself, from its own words; empty if there is no pip here."""
    said = _DEFAULT.search(" ".join(_pip(environment, "download", "--help").split()))
    return said[1] if said is not None else ""


def _pip(environment: Mapping[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "pip", *arguments]
    # Wide enough that no word of its help is broken in two.
    wide = {**environment, "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=wide).stdout
