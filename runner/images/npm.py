"""Lock and fetch npm packages with this machine's npm; they are unpacked in the image without it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.errors import ImageError
from runner.images import cas, reach
from runner.images.lockfile import Artifact
from runner.images.models import ImageContext
from runner.spec.models import NpmSource

_TIMEOUT = 1800.0
_PREFIX = "node_modules/"
_LOST = re.compile(
    r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ERR_SOCKET_TIMEOUT)\b"
)
"""Codes by which npm says that it could not talk to its registry (Node.js, errors of the system)."""


def resolve(ctx: ImageContext, source: NpmSource, where: str) -> list[Artifact]:
    """Find every package that one needs on linux/amd64, fetch it, and put it into the cache.

    Raises:
        ImageError: if npm is absent, or finds no solution.
    """
    with cas.scratch(ctx.cache, "npm") as folder:
        options = ["--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"]
        _npm(ctx, folder, ["install", *options, f"{source.npm}@{source.version}"], where)
        described = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))
        packages = {
            path.removeprefix(_PREFIX): item
            for path, item in described["packages"].items()
            if path and fits(item) and not item.get("dev")
        }
        found = [_package(path, item) for path, item in packages.items()]
        files = _pack(ctx, folder, found, where)
        artifacts = []
        for name, version, path, integrity in found:
            file = files[name, version]
            _require_integrity(file, integrity, where)
            sha256, size = cas.sha256_file(file)
            artifacts.append(
                Artifact(
                    kind="npm",
                    name=name,
                    version=version,
                    file=file.name,
                    sha256=sha256,
                    size=size,
                    path=path,
                    integrity=integrity,
                )
            )
        for artifact in artifacts:
            if not cas.has(ctx.cache, artifact.sha256):
                cas.ingest(ctx.cache, files[artifact.name, artifact.version], artifact.sha256, name=artifact.file)
        return artifacts


def fetch(ctx: ImageContext, artifacts: Sequence[Artifact], where: str) -> None:
    """Fetch locked packages into the cache.

    Raises:
        ImageError: if npm is absent, or the registry has something else under that name.
    """
    with cas.scratch(ctx.cache, "npm") as folder:
        found = [(one.name, one.version, one.path or "", one.integrity or "") for one in artifacts]
        files = _pack(ctx, folder, found, where)
        for one in artifacts:
            if not cas.has(ctx.cache, one.sha256):
                cas.ingest(ctx.cache, files[one.name, one.version], one.sha256, name=one.file, where=where)


def require_reachable(ctx: ImageContext, package: str, where: str) -> None:
    """Ask npm's registry for one package; whatever fails other than the connection is left to who fetches.

    Raises:
        Unreachable: if there is no connection.
    """
    if shutil.which("npm", path=ctx.environment.get("PATH")) is None:
        return
    reach.require_answer(
        ["npm", "view", package, "version", "--fetch-retries=0"],
        ctx.environment,
        host="npm's registry",
        where=where,
        hint="Name a mirror: npm config set registry URL; behind a proxy: npm config set https-proxy URL",
        alien=lambda said: _LOST.search(said) is None,
    )


_Package = tuple[str, str, str, str]
"""Name, version, folder below node_modules, integrity."""


def _package(path: str, item: Mapping[str, Any]) -> _Package:
    name = item.get("name") or path.rpartition(_PREFIX)[2]
    return str(name), str(item["version"]), path, str(item["integrity"])


def fits(item: Mapping[str, Any]) -> bool:
    """Tell whether a package is for linux/amd64 with the GNU C library, by the fields of its description."""
    for field, ours in (("os", "linux"), ("cpu", "x64"), ("libc", "glibc")):
        allowed = item.get(field) or []
        if f"!{ours}" in allowed:
            return False
        if (wanted := [one for one in allowed if not one.startswith("!")]) and ours not in wanted:
            return False
    return True


def _pack(ctx: ImageContext, folder: Path, packages: Sequence[_Package], where: str) -> dict[tuple[str, str], Path]:
    """Let npm write the packages' files, as the registry has them, into a folder."""
    target = folder / "files"
    target.mkdir()
    specs = sorted({f"{name}@{version}" for name, version, _, _ in packages})
    said = _npm(ctx, folder, ["pack", "--json", "--ignore-scripts", "--pack-destination", str(target), *specs], where)
    return {(item["name"], item["version"]): target / _file_name(item["filename"]) for item in json.loads(said)}


def _file_name(name: str) -> str:
    """Return the file's name as npm writes it: a scope becomes a prefix."""
    return name.removeprefix("@").replace("/", "-")


def _require_integrity(file: Path, integrity: str, where: str) -> None:
    """Compare a file with a subresource integrity value, `sha512-BASE64`."""
    algorithm, _, expected = integrity.partition("-")
    found = base64.b64encode(hashlib.new(algorithm, file.read_bytes()).digest()).decode()
    if found != expected:
        raise ImageError(
            f"{file.name} does not fit the integrity of its lock",
            where=where,
            why=f"It has {algorithm}-{found}; expected {integrity}.",
        )


def _npm(ctx: ImageContext, folder: Path, arguments: Sequence[str], where: str) -> str:
    if shutil.which("npm", path=ctx.environment.get("PATH")) is None:
        raise ImageError(
            "npm packages cannot be locked or fetched on this machine",
            where=where,
            why="There is no npm on the PATH.",
            hint="Install npm; it is needed only where a recipe's source is npm, and only until its packages are cached.",
        )
    try:
        code, stdout, stderr = reach.bounded(["npm", *arguments], ctx.environment, _TIMEOUT, folder=folder)
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"npm {arguments[0]} did not end within {_TIMEOUT:g} s", where=where) from error
    if code != 0:
        raise ImageError(
            f"npm {arguments[0]} failed with exit code {code}",
            where=where,
            why=stderr.decode("utf-8", "replace").strip()[-2000:],
            hint="Check name and version, and that npm reaches its registry on this machine: npm config list",
        )
    return stdout.decode("utf-8")
