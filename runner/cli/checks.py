"""What `runner doctor` looks at: small functions that return findings and change nothing."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from runner.engine.admission import measure_space
from runner.engine.protocol import EngineInfo
from runner.errors import ConfigError, ExitCode, ImageError, RunnerError
from runner.report.format import size
from runner.spec.model import Model

if TYPE_CHECKING:
    from runner.images.models import SystemRecipe

Status = Literal["ok", "warn", "fail"]
_PLENTY = 5
"""Free space below this many times the margin is worth a warning."""
_REGISTRY_SECONDS = 20.0
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report: what was looked at, what was found, what to do about it."""

    name: str
    status: Status
    text: str
    hint: str = ""
    code: ExitCode = ExitCode.PASSED
    """What the command exits with if this failed."""


def failed(name: str, error: RunnerError) -> Finding:
    """Return the finding of an error."""
    head = f"{error.where}: {error.what}" if error.where else error.what
    text = " ".join(part for part in (head, error.why) if part)
    return Finding(name=name, status="fail", text=text, hint=error.hint, code=error.exit_code)


def engine_findings(info: EngineInfo) -> Iterator[Finding]:
    """Yield what matters of an engine that answers."""
    yield Finding(
        name="engine",
        status="ok",
        text=f"version {info.version}, API {info.api_version}, {info.platform}, {info.operating_system}, "
        f"kernel {info.kernel}, storage {info.storage_driver}{', rootless' if info.rootless else ''}",
    )
    yield Finding(name="machine", status="ok", text=f"{info.cpus} cores, {size(info.memory)} memory")
    driver = f"cgroup v{info.cgroup_version}, driver {info.cgroup_driver}"
    if info.cgroup_driver == "none":
        yield Finding(
            name="cgroups",
            status="warn",
            text=f"{driver}: limits may not hold, and CPU and memory are measured by the entry shim only",
            hint="for a rootless engine: enable cgroup v2 delegation for your user",
        )
    elif info.rootless or not info.local:
        where = "a rootless engine's" if info.rootless else "another machine's"
        yield Finding(
            name="cgroups",
            status="warn",
            text=f"{driver}: {where} cgroups cannot be read; CPU and memory are measured by the entry shim only",
            hint="for exact figures use an engine of this machine that runs as root",
        )
    else:
        yield Finding(name="cgroups", status="ok", text=f"{driver}: CPU and peak memory are exact")
    yield (
        Finding(name="init", status="ok", text="the engine puts an init process into containers")
        if info.has_init
        else Finding(
            name="init",
            status="fail",
            text="the engine has no init binary; steps need one as PID 1",
            hint="install docker-init (package docker.io, docker-ce or tini)",
            code=ExitCode.ENGINE,
        )
    )


def disk_finding(name: str, folder: Path) -> Finding:
    """Look at the free space where a folder is, or will be."""
    space = measure_space(folder)
    text = f"{size(space.free)} free at {folder}; {size(space.margin)} must stay free"
    if not space.enough:
        return Finding(name=name, status="fail", text=text, hint="runner clean", code=ExitCode.STORAGE)
    if space.free < _PLENTY * space.margin:
        return Finding(name=name, status="warn", text=text, hint="runner clean shows what can go")
    return Finding(name=name, status="ok", text=text)


def writable_finding(name: str, folder: Path) -> Finding:
    """Look whether a folder can be written, or made."""
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
        return Finding(name=name, status="ok", text=f"{folder} can be written")
    what = f"cannot be written by uid {os.getuid()}" if existing.is_dir() else "is a file, and no folder"
    return Finding(
        name=name,
        status="fail",
        text=f"{existing} {what}",
        hint=f"ls -ld {existing}",
        code=ExitCode.STORAGE,
    )


def site_finding(environment: Mapping[str, str]) -> Finding:
    """Look whether the machine's rules can be read, where there are any."""
    from runner.cli.image_stage import site_file, site_of

    try:
        site_of(environment)
    except ConfigError as error:
        return failed("site", error)
    file = site_file(environment)
    text = f"the rules of this machine are in {file}" if file.exists() else f"no rules of this machine: no {file}"
    return Finding(name="site", status="ok", text=text)


def user_finding(environment: Mapping[str, str]) -> Finding:
    """Look at the user's rights on the engine's socket, where there is one."""
    host = environment.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    who = f"uid {os.getuid()}"
    if not host.startswith("unix://"):
        return Finding(name="user", status="ok", text=f"{who}; the engine is reached at {host}")
    socket = Path(host.removeprefix("unix://"))
    try:
        mode = socket.stat()
    except OSError as error:
        return Finding(name="user", status="warn", text=f"{who}; {socket}: {error.strerror}", hint="make engine")
    if os.access(socket, os.R_OK | os.W_OK) and stat.S_ISSOCK(mode.st_mode):
        return Finding(name="user", status="ok", text=f"{who} may use {socket}")
    return Finding(
        name="user",
        status="fail",
        text=f"{who} may not use {socket}",
        hint="sudo usermod -aG docker $USER, then log in again",
        code=ExitCode.ENGINE,
    )


def network_findings(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the proxies and certificates that are set, and those that point nowhere; values may hold passwords."""
    proxies = [name for name in _PROXIES if environment.get(name) or environment.get(name.lower())]
    if proxies:
        yield Finding(name="proxy", status="ok", text=f"set: {', '.join(proxies)}")
    else:
        yield Finding(name="proxy", status="ok", text="none set")
    for name in _CERTIFICATES:
        path = environment.get(name)
        if path and not Path(path).is_file():
            hint = f"correct or unset {name}"
            yield Finding(name="certificates", status="fail", text=f"{name}: no file {path}", hint=hint, code=_CONFIG)
        elif path:
            yield Finding(name="certificates", status="ok", text=f"{name}: {path}")


_CONFIG = ExitCode.CONFIG


def registry_findings(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Ask the package registries that the user's own settings name for one package; only the fetch stage needs them."""
    pip = (sys.executable, "-m", "pip", "index", "versions", "pip", "--disable-pip-version-check")
    yield _registry("pip", pip, environment, "see `pip config list`; set PIP_INDEX_URL, PIP_CERT or a proxy")
    if shutil.which("npm", path=environment.get("PATH")):
        yield _registry(
            "npm", ("npm", "ping"), environment, "see `npm config list`; set NODE_EXTRA_CA_CERTS or a proxy"
        )


def _registry(name: str, command: tuple[str, ...], environment: Mapping[str, str], hint: str) -> Finding:
    title = f"{name} registry"
    try:
        done = subprocess.run(
            command, env=dict(environment), capture_output=True, text=True, timeout=_REGISTRY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return Finding(name=title, status="warn", text=f"no answer within {_REGISTRY_SECONDS:.0f} s", hint=hint)
    except OSError as error:
        return Finding(name=title, status="warn", text=f"{command[0]}: {error.strerror}", hint=hint)
    if done.returncode == 0:
        return Finding(name=title, status="ok", text="answers; needed to lock and fetch images only")
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    return Finding(name=title, status="warn", text=f"does not answer as {name} is set up: {last}", hint=hint)


def debian_finding(system: SystemRecipe, environment: Mapping[str, str]) -> Finding:
    """Say where the packages of the base image come from; addresses may hold passwords, so none is shown."""
    from runner.images import apt

    try:
        suites = dict.fromkeys(source.suite for source in apt.sources(system, environment))
    except ImageError as error:
        return Finding(name="debian mirror", status="warn", text=f"{error.what}. {error.why}", hint=error.hint)
    place = apt.MIRROR_VARIABLE if environment.get(apt.MIRROR_VARIABLE) else "this machine's apt sources"
    text = f"{', '.join(suites)} from {place}; needed to lock and fetch images only"
    return Finding(name="debian mirror", status="ok", text=text)


def model_finding(model: Model | None) -> Finding:
    """Say which model the default experiment uses, once its key has been found; never the key."""
    if model is None:
        return Finding(name="model", status="ok", text="the default experiment uses none")
    if model.provider == "scripted":
        text = "scripted model: prepared answers, no key needed; a real one: runner go --model openai/NAME"
        return Finding(name="model", status="ok", text=text)
    return Finding(name="model", status="ok", text=f"{model.provider}/{model.name}: its key is there")
