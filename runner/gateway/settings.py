"""What the gateway process is started with: key, endpoint, proxies, and where its sockets lie."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from runner.errors import ConfigError
from runner.spec.models import Model

OPENAI_BASE_URL = "https://api.openai.com/v1"
_PASSED_ON = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "LANG", "LC_ALL", "TZ", "TMPDIR", "PATH"),
)
_CA_FILES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_LONGEST_FOLDER = 64
"""Bytes: with the names below it a socket's path stays under the 108 bytes of sockaddr_un, see unix(7)."""


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """Everything the gateway process needs; the key never shows in a repr, a log or an error."""

    key: SecretStr | None
    base_url: str
    """Endpoint for models that name none."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment of the process: proxies and certificates, nothing else of the caller's."""
    runtime: Path
    """Folder for the process's private folder."""
    drain_seconds: float = 10.0
    """How long a closing session waits for answers that are still under way, to meter them."""
    read_timeout: float = 600.0
    """Seconds a provider may be silent in the middle of an answer."""


def gateway_settings(model: Model, environment: Mapping[str, str], *, project: Path = Path()) -> GatewaySettings:
    """Return the settings for an experiment's model.

    Args:
        model: the experiment's model.
        environment: the caller's environment.
        project: folder that a relative `key_file` is looked up in.

    Raises:
        ConfigError: if the key is missing or its file is open to others.
    """
    certificates = next((environment[name] for name in _CA_FILES if environment.get(name)), None)
    passed_on = {name: environment[name] for name in _PASSED_ON if environment.get(name)}
    return GatewaySettings(
        key=resolve_key(model, environment, project=project),
        base_url=resolve_base_url(model, environment),
        environment=passed_on | ({"SSL_CERT_FILE": certificates} if certificates else {}),
        runtime=runtime_folder(environment),
    )


def resolve_base_url(model: Model, environment: Mapping[str, str]) -> str:
    """Return the provider's endpoint: the model's own, else OPENAI_BASE_URL, else the provider's public one."""
    return (model.base_url or environment.get("OPENAI_BASE_URL") or OPENAI_BASE_URL).rstrip("/")


def resolve_key(model: Model, environment: Mapping[str, str], *, project: Path = Path()) -> SecretStr | None:
    """Return the provider's key from its file or the environment; None for a model that needs none.

    Args:
        model: whose key.
        environment: the caller's environment.
        project: folder that a relative `key_file` is looked up in.

    Raises:
        ConfigError: if there is none, or if its file can be read by others.
    """
    if model.provider == "scripted":
        return None
    if model.key_file is not None:
        return _read_key(project / Path(model.key_file).expanduser())
    key = environment.get(model.key_env, "").strip()
    if not key:
        raise ConfigError(
            f"no key for {model.provider}/{model.name}: {model.key_env} is not set",
            hint=f"type: export {model.key_env}=...   or name a file in model.key_file; "
            "for an endpoint that wants no key any word will do",
        )
    return SecretStr(key)


def _read_key(path: Path) -> SecretStr:
    hint = f"type: install -m 600 /dev/null {path}   and put the key into it"
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            key = file.read(1 << 16).decode("utf-8").strip()
    except OSError as error:
        raise ConfigError(f"the key file cannot be read: {error.strerror}", where=str(path), hint=hint) from None
    except UnicodeDecodeError:
        raise ConfigError("the key file is no UTF-8 text", where=str(path), hint=hint) from None
    if stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            f"the key file can be read by others (mode {stat.S_IMODE(mode):04o})",
            where=str(path),
            hint=f"type: chmod 600 {path}",
        )
    if not key or len(key.split()) != 1:
        raise ConfigError("the key file must hold one word, the key", where=str(path), hint=hint)
    return SecretStr(key)


def runtime_folder(environment: Mapping[str, str]) -> Path:
    """Return where sockets may lie: the first of XDG_RUNTIME_DIR, /run/user/UID, TMPDIR and /tmp that is fit.

    Raises:
        ConfigError: if none can be written or all have too long a name for a socket.
    """
    named = (environment.get("XDG_RUNTIME_DIR"), f"/run/user/{os.getuid()}", environment.get("TMPDIR"), "/tmp")  # noqa: S108  a private folder is made in it
    candidates = [Path(name) for name in named if name]
    for folder in candidates:
        short = len(os.fsencode(folder.absolute())) <= _LONGEST_FOLDER
        if short and folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return folder.absolute()
    raise ConfigError(
        f"no folder for sockets: {', '.join(map(str, candidates))}",
        why=f"each is absent, not writable, or longer than the {_LONGEST_FOLDER} bytes a socket's path leaves",
        hint="type: export XDG_RUNTIME_DIR=<a short path that only you can write>",
    )
