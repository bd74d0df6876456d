"""Resolve Debian packages with apt in a root of its own, and fetch locked ones from any mirror or the archive's past.

Where packages come from is never written down: it is what this machine's apt uses, or RUNNER_DEBIAN_MIRROR.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import ImageError
from runner.images.lockfile import Artifact
from runner.images.models import SystemRecipe

MIRROR_VARIABLE = "RUNNER_DEBIAN_MIRROR"
"""Base addresses of mirrors, separated by spaces; one that ends in `-security` is the security archive."""
SNAPSHOT_VARIABLE = "RUNNER_DEBIAN_SNAPSHOT"
"""Base addresses in the archive of past states, separated by spaces, with @SNAPSHOTID@ where the date goes."""

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_HELPER = Path("/usr/lib/apt/apt-helper")
_TARGETS = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(CREATED_BY)|$(ORIGIN)|$(LABEL)"
"""What apt is asked of each index it knows. Origin and label are empty until apt has fetched the lists once."""
_INSTALLED = re.compile(r"^Inst (\S+?)(?::\S+)? (?:\[[^]]*\] )?\((\S+) .*\[\w+\]\)", re.MULTILINE)
_TIMEOUT = 600.0


@dataclass(frozen=True, kw_only=True)
class AptSource:
    """One line of apt's sources."""

    uri: str
    suite: str
    debians: bool = True
    """Whether Debian's own packages are there, as opposed to somebody else's for the same release."""


def has_apt(environment: Mapping[str, str]) -> bool:
    """Tell whether apt can be used on this machine."""
    return shutil.which("apt-get", path=environment.get("PATH")) is not None


def sources(recipe: SystemRecipe, environment: Mapping[str, str]) -> list[AptSource]:
    """Find where packages of the recipe's release come from on this machine.

    A mirror carries all releases: where apt's own sources name another one, their addresses are taken with the recipe's.

    Raises:
        ImageError: if neither apt nor the setting names a mirror of Debian.
    """
    if setting := environment.get(MIRROR_VARIABLE):
        return [source for uri in setting.split() for source in _suites(uri, recipe.suite)]
    if has_apt(environment):
        listed = _listed(_run(["apt-get", "indextargets", "--format", _TARGETS], environment), recipe)
        wanted = {recipe.suite, f"{recipe.suite}-updates", f"{recipe.suite}-security"}
        exact = [source for source in listed if source.suite in wanted]
        if any(source.debians and source.suite == recipe.suite for source in exact):
            return exact
        moved = [one for source in listed if source.debians for one in _moved(source, recipe.suite)]
        if any(source.suite == recipe.suite for source in moved):
            return list(dict.fromkeys(moved))
        if exact:
            return exact
    raise ImageError(
        f"no mirror of Debian {recipe.suite} is known on this machine",
        why="Images are made of Debian's packages, and this machine's apt has no source of them.",
        hint=f"Set the address of a Debian mirror, a mirror of Ubuntu will not do: "
        f"export {MIRROR_VARIABLE}='http://MIRROR/debian http://MIRROR/debian-security'",
    )


def _listed(text: str, recipe: SystemRecipe) -> list[AptSource]:
    """Read what apt says about its package indexes in the parts of the archive that a recipe uses."""
    found: dict[AptSource, None] = {}
    for line in text.splitlines():
        uri, suite, component, kind, origin, label = line.split("|")
        uri = uri.rstrip("/")
        if kind == "Packages" and component in recipe.components:
            place = uri.rpartition("/")[2] in {"debian", "debian-security"}
            debians = (origin == "Debian" and label in {"Debian", "Debian-Security"}) if origin else place
            found[AptSource(uri=uri, suite=suite, debians=debians)] = None
    return list(found)


def _moved(source: AptSource, suite: str) -> list[AptSource]:
    """Return what the address of a source has of another release."""
    if source.suite.endswith("-security"):
        return [AptSource(uri=source.uri, suite=f"{suite}-security")]
    return _suites(source.uri, suite)


def _suites(uri: str, suite: str) -> list[AptSource]:
    uri = uri.rstrip("/")
    suites = (f"{suite}-security",) if uri.endswith("-security") else (suite, f"{suite}-updates")
    return [AptSource(uri=uri, suite=one) for one in suites]


def resolve(
    recipe: SystemRecipe, packages: Sequence[str], installed: str, folder: Path, environment: Mapping[str, str]
) -> list[Artifact]:
    """Find the exact packages that `packages` need beyond those installed.

    Args:
        recipe: release and parts of the archive.
        packages: names to install; recommended packages are not added.
        installed: dpkg status text of what is there already, empty for a fresh system.
        folder: an empty folder for apt's private state.
        environment: the caller's.

    Raises:
        ImageError: if apt is absent or cannot resolve them.
    """
    if not has_apt(environment):
        raise ImageError(
            "Debian packages cannot be resolved on this machine",
            why="There is no apt-get on the PATH.",
            hint="Lock on a Debian or Ubuntu machine; fetching and building a committed lock needs no apt.",
        )
    options = _private_root(recipe, installed, folder, environment)
    _run(["apt-get", *options, "-qq", "update"], environment)
    simulated = _run(["apt-get", *options, "--simulate", "install", *packages], environment)
    chosen = _INSTALLED.findall(simulated)
    if not chosen:
        return []
    wanted = [f"{name}={version}" for name, version in chosen]
    stanzas = _stanzas(_run(["apt-cache", *options, "show", *wanted], environment))
    return [_artifact(stanzas[name, version]) for name, version in chosen]


def _private_root(recipe: SystemRecipe, installed: str, folder: Path, environment: Mapping[str, str]) -> list[str]:
    for name in ("state/lists/partial", "cache/archives/partial", "empty"):
        (folder / name).mkdir(parents=True)
    (folder / "status").write_text(installed, encoding="utf-8")
    signed = f"[signed-by={_KEYRING}] " if _KEYRING.is_file() else ""
    lines = [
        f"deb {signed}{source.uri} {source.suite} {' '.join(recipe.components)}\n"
        for source in sources(recipe, environment)
    ]
    (folder / "sources.list").write_text("".join(lines), encoding="utf-8")
    settings = {
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": folder / "empty",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": folder / "empty",
        "APT::Architecture": "amd64",
        "APT::Architectures::": "amd64",
        "APT::Sandbox::User": "root",
        "APT::Install-Recommends": "false",
        "Acquire::Languages": "none",
    }
    return [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]


def _stanzas(text: str) -> dict[tuple[str, str], dict[str, str]]:
    found: dict[tuple[str, str], dict[str, str]] = {}
    for stanza in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and not line.startswith(" "))
        if "Package" in fields:
            found.setdefault((fields["Package"], fields["Version"]), fields)
    return found


def _artifact(fields: Mapping[str, str]) -> Artifact:
    path = fields["Filename"]
    return Artifact(
        kind="deb",
        name=fields["Package"],
        version=fields["Version"],
        file=path.rpartition("/")[2],
        sha256=fields["SHA256"],
        size=int(fields["Size"]),
        path=path,
    )


def download(
    artifacts: Iterable[Artifact], bases: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> list[Artifact]:
    """Fetch packages into a folder, trying each base address in turn.

    Returns:
        those that none of the addresses has.
    """
    missing = list(artifacts)
    for base in bases:
        if missing:
            _download_from(base, missing, folder, environment)
            missing = [artifact for artifact in missing if not (folder / artifact.file).is_file()]
    return missing


def _download_from(base: str, artifacts: Sequence[Artifact], folder: Path, environment: Mapping[str, str]) -> None:
    """Ask apt's own client, which knows this machine's proxies, else requests, which knows the environment's."""
    if _HELPER.is_file() and has_apt(environment):
        triples = [
            part for one in artifacts for part in (f"{base}/{one.path}", str(folder / one.file), f"SHA256:{one.sha256}")
        ]
        subprocess.run(
            [str(_HELPER), "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=2", "download-file", *triples],
            capture_output=True,
            check=False,
            timeout=_TIMEOUT,
            env=dict(environment),
        )
        return
    import requests

    with requests.Session() as session:
        for one in artifacts:
            try:
                answer = session.get(f"{base}/{one.path}", timeout=60)
            except requests.RequestException:
                continue
            if answer.ok:
                (folder / one.file).write_bytes(answer.content)


def snapshots(recipe: SystemRecipe, date: str, environment: Mapping[str, str]) -> list[str]:
    """Return addresses of the archive's state on a lock's date; empty if neither setting nor Release file names any."""
    stamp = re.sub(r"[-:]", "", date)
    if setting := environment.get(SNAPSHOT_VARIABLE):
        return [address.replace("@SNAPSHOTID@", stamp).rstrip("/") for address in setting.split()]
    found = []
    for release in sorted(Path("/var/lib/apt/lists").glob(f"*_{recipe.suite}*_*Release")):
        match = re.search(r"^Snapshots: (\S*@SNAPSHOTID@\S*)$", release.read_text("utf-8", "replace"), re.MULTILINE)
        if match:
            found.append(match[1].replace("@SNAPSHOTID@", stamp).rstrip("/"))
    return list(dict.fromkeys(found))


def _run(command: Sequence[str], environment: Mapping[str, str]) -> str:
    settings = {**environment, "LC_ALL": "C.UTF-8"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT, env=settings)
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        raise ImageError(
            f"{command[0]} could not resolve the Debian packages",
            why="\n".join(lines[-8:] or result.stdout.splitlines()[-8:]),
            hint="Check the package names, and that this machine's apt reaches its mirror.",
        )
    return result.stdout
