"""Where artifacts come from: mirrors, the archive's past, this machine's pip and npm."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.errors import ImageError
from runner.images import apt, npm, toolbox
from runner.images.lockfile import Artifact
from runner.images.models import SystemRecipe

RECIPE = SystemRecipe(suite="bookworm")
DEB = Artifact(kind="deb", name="a", version="1", file="a_1.deb", sha256="0" * 64, size=3, path="pool/a/a_1.deb")
OTHER = DEB.model_copy(update={"name": "b", "file": "b_1.deb", "path": "pool/b/b_1.deb"})


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[str]:
    """An HTTP server with one of two packages."""
    (tmp_path / "mirror" / "pool" / "a").mkdir(parents=True)
    (tmp_path / "mirror" / "pool" / "a" / "a_1.deb").write_bytes(b"abc")
    handler = functools.partial(_Quiet, directory=str(tmp_path / "mirror"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's own name
        pass


def test_the_setting_names_mirrors_and_their_suites() -> None:
    """A mirror serves a release and its updates, a security archive its security suite."""
    found = apt.sources(RECIPE, {apt.MIRROR_VARIABLE: "http://m/debian/ http://m/debian-security"})
    assert [(source.uri, source.suite) for source in found] == [
        ("http://m/debian", "bookworm"),
        ("http://m/debian", "bookworm-updates"),
        ("http://m/debian-security", "bookworm-security"),
    ]


def test_without_mirror_the_setting_is_named() -> None:
    """A machine without apt is told exactly what to set, and what will not do."""
    with pytest.raises(ImageError) as caught:
        apt.sources(RECIPE, {"PATH": ""})
    assert caught.value.hint == (
        "Set the address of a Debian mirror, a mirror of Ubuntu will not do: "
        "export RUNNER_DEBIAN_MIRROR='http://MIRROR/debian http://MIRROR/debian-security'"
    )


def _apt(folder: Path, *lines: str) -> dict[str, str]:
    """Put an apt-get on the PATH that knows these indexes."""
    folder.mkdir()
    text = "".join(f"echo '{line}'\n" for line in lines)
    (folder / "apt-get").write_text(f"#!/bin/sh\n{text}", encoding="utf-8")
    (folder / "apt-get").chmod(0o755)
    return {"PATH": str(folder)}


OWN = (
    "http://d/debian/|bookworm|main|Packages|Debian|Debian",
    "http://d/debian/|bookworm|main|Translations|Debian|Debian",
    "http://d/debian-security/|bookworm-security|main|Packages|Debian|Debian-Security",
)
NEWER = tuple(line.replace("bookworm", "trixie") for line in OWN)
ARCHIVE = "http://d/s/|trixie-security|main|Packages|Debian|Debian-Security"
UNFETCHED = tuple(line.replace("Debian|Debian-Security", "|").replace("Debian|Debian", "|") for line in NEWER)
FOREIGN = ("http://f/apt|stable|main|Packages||", "http://g/x|bookworm|main|Packages|Someone|Someone")
UBUNTU = ("http://u/ubuntu|noble|main|Packages|Ubuntu|Ubuntu", "http://u/ubuntu|noble-security|main|Packages||")
MAIN = [("http://d/debian", "bookworm"), ("http://d/debian", "bookworm-updates")]
SECURITY = [("http://d/debian-security", "bookworm-security")]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(OWN, [MAIN[0], *SECURITY], id="the-same-release"),
        pytest.param(NEWER, [*MAIN, *SECURITY], id="another-release"),
        pytest.param(UNFETCHED, [*MAIN, *SECURITY], id="lists-never-fetched"),
        pytest.param(
            (NEWER[0], ARCHIVE), [*MAIN, ("http://d/s", "bookworm-security")], id="a-security-archive-elsewhere"
        ),
        pytest.param((*FOREIGN, *NEWER), [*MAIN, *SECURITY], id="beside-others-of-the-release"),
        pytest.param(FOREIGN, [("http://g/x", "bookworm")], id="a-mirror-under-another-name"),
    ],
)
def test_apts_own_sources_serve_any_release(
    tmp_path: Path, lines: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    """The addresses of apt's Debian sources are used with the recipe's release, whichever they name."""
    found = apt.sources(RECIPE, _apt(tmp_path / "bin", *lines))
    assert [(source.uri, source.suite) for source in found] == expected


@pytest.mark.processes
def test_a_machine_with_other_sources_has_no_debian(tmp_path: Path) -> None:
    """Ubuntu's archive is never taken for Debian's."""
    with pytest.raises(ImageError, match="no mirror of Debian bookworm is known on this machine"):
        apt.sources(RECIPE, _apt(tmp_path / "bin", *UBUNTU))


def test_without_apt_nothing_is_resolved(tmp_path: Path) -> None:
    """Locking needs apt, and says that fetching and building do not."""
    with pytest.raises(ImageError, match="fetching and building a committed lock needs no apt"):
        apt.resolve(RECIPE, ["bash"], "", tmp_path, {"PATH": ""})


def test_packages_are_fetched_without_apt(mirror: str, tmp_path: Path) -> None:
    """Where there is no apt, packages come over HTTP; those that no mirror has are returned."""
    assert apt.download([DEB, OTHER], ["http://127.0.0.1:1/none", mirror], tmp_path, {"PATH": ""}) == [OTHER]
    assert (tmp_path / "a_1.deb").read_bytes() == b"abc"


def test_the_archives_past_is_addressed_by_the_locks_date() -> None:
    """The placeholder becomes the date in the archive's own format."""
    setting = {apt.SNAPSHOT_VARIABLE: "http://s/debian/@SNAPSHOTID@/ http://s/security/@SNAPSHOTID@"}
    assert apt.snapshots(RECIPE, "2026-01-02T03:04:05Z", setting) == [
        "http://s/debian/20260102T030405Z",
        "http://s/security/20260102T030405Z",
    ]


@pytest.mark.processes
def test_pip_settings_are_handed_over_and_folders_mounted(tmp_path: Path) -> None:
    """Index, certificate and proxy go in as they are here; local folders appear at the same place, read-only."""
    certificate = tmp_path / "ca.pem"
    certificate.write_text("x")
    (tmp_path / "wheels").mkdir()
    (tmp_path / "index" / "simple").mkdir(parents=True)
    environment = {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_CERT": str(certificate),
        "PIP_FIND_LINKS": str(tmp_path / "wheels"),
        "PIP_EXTRA_INDEX_URL": (tmp_path / "index" / "simple").as_uri(),
        "HTTPS_PROXY": "http://proxy:3128",
        "PIP_TARGET": "/somewhere",
        "SECRET": "no",
    }
    settings = toolbox.pip_settings(environment)
    assert settings.env["PIP_CERT"] == str(certificate)
    assert settings.env["HTTPS_PROXY"] == "http://proxy:3128"
    assert not {"PIP_TARGET", "SECRET", "PIP_CONFIG_FILE"} & set(settings.env)
    assert {mount.target for mount in settings.mounts} == {
        str(certificate),
        str(tmp_path / "wheels"),
        str(tmp_path / "index"),
    }
    assert all(mount.read_only for mount in settings.mounts)


@pytest.mark.processes
def test_pips_configuration_file_counts(tmp_path: Path) -> None:
    """What stands in pip's own configuration reaches the container, and the environment wins over it."""
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = http://one\ntimeout = 7\n")
    environment = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_TIMEOUT": "9"}
    settings = toolbox.pip_settings(environment)
    assert (settings.env["PIP_INDEX_URL"], settings.env["PIP_TIMEOUT"]) == ("http://one", "9")


@pytest.mark.parametrize(
    ("item", "fits"),
    [
        ({}, True),
        ({"os": ["linux"], "cpu": ["x64"]}, True),
        ({"os": ["darwin"]}, False),
        ({"os": ["!win32"]}, True),
        ({"cpu": ["arm64"]}, False),
        ({"os": ["!linux"]}, False),
        ({"libc": ["musl"]}, False),
    ],
)
def test_npm_packages_for_other_platforms_are_left_out(item: dict[str, list[str]], *, fits: bool) -> None:
    """Optional packages for other systems never get into the lock."""
    assert npm.fits(item) is fits
