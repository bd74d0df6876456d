"""Lock and fetch Python distributions with pip, in a container with the Python they are for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from runner.errors import ImageError
from runner.gateway.egress.index_settings import index_settings
from runner.images import cas, reach, toolbox
from runner.images.lockfile import Artifact
from runner.images.models import ImageContext
from runner.names import canonical_project

PIP = ("/usr/bin/python3", "/tools/pip.whl/pip")
_LAST_LINES = 12
_EXTRA = "PIP_EXTRA_INDEX_URL"


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Where pip runs."""

    image: str
    """The engine's id of an image with the base's Python."""
    pip: Path
    """Folder that holds `pip.whl`."""
    compiles: bool
    """Whether it has compilers, so that source distributions may be taken."""
    key: str
    """Hash of what decides how a source distribution is built."""


class NoWheels(ImageError):
    """Some distribution has no wheel, and this workshop cannot build one."""


def require_reachable(ctx: ImageContext, where: str) -> None:
    """Try whether pip's index, or the proxy on the way, can be connected to; one of several will do.

    A machine that has folders of packages is not asked: they may hold all that is wanted.

    Raises:
        Unreachable: if there is no connection.
    """
    settings = toolbox.pip_settings(ctx.environment).env
    if settings.get("PIP_NO_INDEX") or settings.get("PIP_FIND_LINKS") or "file:" in settings.get(_EXTRA, ""):
        return
    proxy = settings.get("PIP_PROXY")
    proxies = {"http_proxy": proxy, "https_proxy": proxy} if proxy else settings
    failures = []
    for url in index_settings(ctx.environment).urls:
        try:
            reach.require_connection(
                url,
                proxies,
                where=where,
                hint="Name a mirror: pip config set global.index-url URL; behind a proxy: "
                "pip config set global.proxy URL",
            )
        except reach.Unreachable as error:
            failures.append(error)
        else:
            return
    if failures:
        raise failures[0]


def resolve(
    ctx: ImageContext, workshop: Workshop, requirements: str, where: str, *, alone: bool = False
) -> list[Artifact]:
    """Find every distribution that requirements need, fetch it, and put it into the cache.

    Args:
        ctx: engine, cache, settings.
        workshop: where pip runs.
        requirements: text in pip's format.
        where: file that a failure is blamed on.
        alone: without what the distributions themselves need.

    Raises:
        NoWheels: if nothing can be found without building, and the workshop cannot build.
        ImageError: if pip finds no solution.
    """
    with cas.scratch(ctx.cache, "pip") as folder:
        (folder / "requirements.in").write_text(requirements, encoding="utf-8")
        options = ["install", "--dry-run", "--ignore-installed", "--quiet", "--report", "/out/report.json"]
        options += ["--requirement", "/out/requirements.in", "--prefer-binary", *(["--no-deps"] if alone else [])]
        _pip(ctx, workshop, folder, options, where)
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        found = [_reported(item) for item in report["install"]]
        pins = [(f"{one.name}=={one.version}", one.file.endswith(".whl")) for one in found]
        hashes = {one.file: one.sha256 for one in found if one.sha256}
        files = _download(ctx, workshop, folder, pins, where)
        return [_ingest(ctx, one, files, hashes, where) for one in found]


@dataclass(frozen=True, kw_only=True)
class _Reported:
    name: str
    version: str
    file: str
    sha256: str
    """Empty where the index states none."""


def _reported(item: dict[str, dict[str, object]]) -> _Reported:
    """Read one entry of pip's installation report (format version 1)."""
    metadata, download = item["metadata"], item["download_info"]
    archive = download.get("archive_info")
    hashes = archive.get("hashes", {}) if isinstance(archive, dict) else {}
    return _Reported(
        name=canonical_project(str(metadata["name"])),
        version=str(metadata["version"]),
        file=unquote(urlsplit(str(download["url"])).path).rpartition("/")[2],
        sha256=hashes.get("sha256", ""),
    )


def _ingest(ctx: ImageContext, one: _Reported, files: Path, hashes: dict[str, str], where: str) -> Artifact:
    path = files / one.file
    if not path.is_file():
        raise ImageError(f"pip did not fetch {one.file}, which it had chosen", where=where, hint="Try again.")
    size = path.stat().st_size
    sha256 = hashes.get(one.file) or cas.sha256_file(path)[0]
    cas.ingest(ctx.cache, path, sha256, name=one.file, where=where)
    kind = "wheel" if one.file.endswith(".whl") else "sdist"
    return Artifact.model_validate(
        {"kind": kind, "name": one.name, "version": one.version, "file": one.file, "sha256": sha256, "size": size}
    )


def fetch(ctx: ImageContext, workshop: Workshop, artifacts: Sequence[Artifact], where: str) -> None:
    """Fetch locked wheels and source distributions into the cache; pip compares them with their hashes.

    Raises:
        ImageError: if the index has something else under that name, or nothing.
    """
    with cas.scratch(ctx.cache, "pip") as folder:
        pins = [(f"{one.name}=={one.version} --hash=sha256:{one.sha256}", one.kind == "wheel") for one in artifacts]
        files = _download(ctx, workshop, folder, pins, where)
        for one in artifacts:
            cas.ingest(ctx.cache, files / one.file, one.sha256, name=one.file, where=where)


def _download(
    ctx: ImageContext, workshop: Workshop, folder: Path, pins: Iterable[tuple[str, bool]], where: str
) -> Path:
    """Let pip download exactly these requirements, wheels and source distributions apart."""
    files = folder / "files"
    files.mkdir()
    wheels: list[str] = []
    sources: list[str] = []
    for pin, is_wheel in pins:
        (wheels if is_wheel else sources).append(pin)
    # Only the distributions themselves must come as source; what builds them may be wheels.
    by_name = ",".join(line.partition("==")[0] for line in sources)
    for name, lines, choice in (
        ("wheels", wheels, ("--only-binary", ":all:")),
        ("sources", sources, ("--no-binary", by_name)),
    ):
        if lines:
            (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
            options = ["download", "--quiet", "--no-deps", *choice, "--dest", "/out/files"]
            _pip(ctx, workshop, folder, [*options, "--requirement", f"/out/{name}.txt"], where)
    return files


def build_wheel(ctx: ImageContext, workshop: Workshop, sdist: Artifact, where: str) -> None:
    """Build a wheel from a locked source distribution, and remember which wheel came from it.

    The build takes its own requirements from the index, and its result may differ between two builds; what is locked
    is the source. The wheel's hash is kept beside the cache and written into the image's record.
    """
    with cas.scratch(ctx.cache, "wheel") as folder:
        source = cas.verified(ctx.cache, sdist.sha256, name=sdist.file, refetch="NAME")
        (folder / sdist.file).write_bytes(source.read_bytes())
        options = ["wheel", "--quiet", "--no-deps", "--wheel-dir", "/out/files", f"/out/{sdist.file}"]
        _pip(ctx, workshop, folder, options, where)
        (wheel,) = (folder / "files").glob("*.whl")
        sha256, size = cas.add(ctx.cache, wheel)
        text = json.dumps({"file": wheel.name, "sha256": sha256, "size": size})
        cas.write_atomic(derived_path(ctx.cache, sdist, workshop.key), text + "\n")


def derived_path(cache: Path, sdist: Artifact, key: str) -> Path:
    """Return where it is written down which wheel was built from a source distribution in this workshop."""
    return cache / "derived" / f"{sdist.sha256}-{key[:16]}.json"


def derived(cache: Path, sdist: Artifact, key: str) -> Artifact | None:
    """Return the wheel that was built from a source distribution, or None if there is none yet."""
    path = derived_path(cache, sdist, key)
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return sdist.model_copy(update={"kind": "wheel", **found})


def _pip(ctx: ImageContext, workshop: Workshop, folder: Path, options: Sequence[str], where: str) -> None:
    binary = [] if workshop.compiles or "--only-binary" in options else ["--only-binary", ":all:"]
    settings = toolbox.pip_settings(ctx.environment)
    code, stdout, stderr = toolbox.run(
        ctx,
        image=workshop.image,
        argv=[*PIP, *options, *binary],
        settings=settings,
        folders={"/out": folder, "/tools": workshop.pip},
        purpose="pip",
    )
    if code != 0:
        lines = [line for line in (stdout + stderr).splitlines() if line.strip()]
        kind = NoWheels if binary else ImageError
        raise kind(
            f"pip {options[0]} failed with exit code {code}",
            where=where,
            why="\n".join(lines[-_LAST_LINES:]),
            hint="Check the requirements, and that pip reaches its index on this machine: pip config list",
        )
