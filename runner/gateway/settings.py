"""What the gateway process is started with: key, endpoint, proxies, and where its sockets lie."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from runner.errors import ConfigError
from runner.gateway.egress.index_settings import IndexSettings
from runner.spec.model import Budget, Model, Traffic

_ENDPOINTS = {
    "openai": ("OPENAI_BASE_URL", "https://api.openai.com/v1"),
    "anthropic": ("ANTHROPIC_BASE_URL", "https://api.anthropic.com"),
    "azure": ("AZURE_OPENAI_ENDPOINT", ""),
}
"""Variable with the provider's endpoint, and the public one. OpenAI's ends in its version, the others' do not."""
_KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "azure": "AZURE_OPENAI_API_KEY"}
"""Variable with the provider's key."""
_PASSED_ON = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "LANG", "LC_ALL", "TZ", "TMPDIR", "PATH"),
)
_PRICES = "config/prices.yaml"
_CA_FILES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_LONGEST_FOLDER = 64
"""Bytes: with the names below it a socket's path stays under the 108 bytes of sockaddr_un, see unix(7)."""


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What has been used up of a budget."""

    tokens: int = 0
    calls: int = 0
    dollars: float = 0.0
    call_time: float = 0.0
    """Seconds."""


@dataclass(frozen=True, kw_only=True)
class GatewaySettings:
    """Everything the gateway process needs; the key never shows in a repr, a log or an error."""

    key: SecretStr | None
    base_url: str
    """Endpoint of the provider; empty for one that has none."""
    traffic: Traffic = field(default_factory=Traffic)
    prices: Path | None = None
    """Table of prices; None: nothing has a price."""
    budget: Budget = field(default_factory=Budget)
    """For all sessions together: the experiment's."""
    spent: Spent = field(default_factory=Spent)
    """What the experiment had used up before."""
    index: IndexSettings | None = None
    """Where packages come from that steps may install; None: no step may, or from a folder."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment of the process: proxies and certificates, nothing else of the caller's."""
    runtime: Path
    """Folder for the process's private folder."""
    home: Path | None = None
    """The output folder: if the runner dies, the gateway goes on serving what has not expired, until another runner
    with the same home takes it over. None: it ends with its runner."""
    experiment: str = ""
    """Whose budget it is: what a gateway that is taken over knows to be spent of the same one goes on counting. Empty:
    nothing does, as for an experiment that is carried out anew."""
    drain_seconds: float = 10.0
    """How long a closing session waits for answers that are still under way, to meter them."""
    read_timeout: float = 600.0
    """Seconds a provider may be silent in the middle of an answer."""


def gateway_settings(
    model: Model | None,
    environment: Mapping[str, str],
    *,
    project: Path = Path(),
    budget: Budget | None = None,
    options: bool = False,
) -> GatewaySettings:
    """Return the settings for an experiment's model.

    Args:
        model: the experiment's model; None for one whose steps have only other ways out.
        environment: the caller's environment.
        project: folder that a relative `key_file` is looked up in, and the table of prices.
        budget: what all sessions together may use up.
        options: whether the model was told by a command's options, which errors then name, and by no file.

    Raises:
        ConfigError: if the key is missing or its file is open to others, or the table of prices is not there.
    """
    certificates = next((environment[name] for name in _CA_FILES if environment.get(name)), None)
    passed_on = {name: environment[name] for name in _PASSED_ON if environment.get(name)}
    return GatewaySettings(
        key=resolve_key(model, environment, project=project, options=options) if model is not None else None,
        base_url=resolve_base_url(model, environment, options=options) if model is not None else "",
        traffic=model.traffic if model is not None else Traffic(),
        prices=find_prices(model, project) if model is not None else None,
        budget=budget or Budget(),
        environment=passed_on | ({"SSL_CERT_FILE": certificates} if certificates else {}),
        runtime=runtime_folder(environment),
    )


def find_prices(model: Model, project: Path) -> Path | None:
    """Return the table of prices: the model's own, else the project's, if there is one.

    Raises:
        ConfigError: if the model names one that is not there.
    """
    path = (project / (model.prices or _PRICES)).absolute()
    if path.is_file():
        return path
    if model.prices is None:
        return None
    raise ConfigError(
        f"model.prices: there is no file {path}", hint=f"name a table of prices like {_PRICES}, or leave it out"
    )


def resolve_base_url(model: Model, environment: Mapping[str, str], *, options: bool = False) -> str:
    """Return the provider's endpoint: the model's own, else that of the environment, else the provider's public one.

    Raises:
        ConfigError: if the provider has no public one, and none is named.
    """
    if model.provider not in _ENDPOINTS:
        return ""
    variable, public = _ENDPOINTS[model.provider]
    found = (model.base_url or environment.get(variable) or public).rstrip("/")
    if not found:
        raise ConfigError(
            f"no endpoint for {model.provider}/{model.name}: {variable} is not set",
            hint=f"type: export {variable}=https://...   or "
            + ("name it: --base-url https://..." if options else "write model.base_url"),
        )
    return found


def resolve_key(
    model: Model, environment: Mapping[str, str], *, project: Path = Path(), options: bool = False
) -> SecretStr | None:
    """Return the provider's key from its file or the environment; None for a model that needs none.

    Args:
        model: whose key.
        environment: the caller's environment.
        project: folder that a relative `key_file` is looked up in.
        options: as for `gateway_settings`.

    Raises:
        ConfigError: if there is none, or if its file can be read by others.
    """
    if model.provider not in _KEYS:
        return None
    if model.key_file is not None:
        return _read_key(project / Path(model.key_file).expanduser())
    variable = model.key_env or _KEYS[model.provider]
    key = environment.get(variable, "").strip()
    if not key:
        raise ConfigError(
            f"no key for {model.provider}/{model.name}: {variable} is not set",
            hint=f"type: export {variable}=...   or name a file {'with --key-file FILE' if options else 'in model.key_file'}; "
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
