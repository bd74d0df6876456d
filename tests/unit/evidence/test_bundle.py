"""Bundles: written the same every time, and refused when anything in them is not what it should be."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.errors import ConfigError, StorageError
from runner.evidence.atomic import write_bytes
from runner.evidence.bundle import BundledImage, BundledRun, open_bundle, write_bundle
from runner.evidence.compress import compressor

RUN = BundledRun(
    framework="alpha",
    id="crud-r1-0",
    digest="0" * 64,
    archive="runs/alpha/crud-r1-0.tar.zst",
    tar_sha256="1" * 64,
    metadata_sha256="2" * 64,
)
IMAGES = (BundledImage(id="sha256:1", tag="codegen-runner/alpha:1"),)
Edit = Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a bundle of one run and a script of its project."""
    (tmp_path / "run").write_bytes(b"archive")
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    target = tmp_path / "one.bundle"
    write_bundle(target, {RUN.archive: tmp_path / "run", "project/images/alpha/go": script}, [RUN], IMAGES)
    return target


def edit(path: Path, change: Edit) -> Path:
    """Write a bundle anew with other members."""
    with tarfile.open(path) as tar:
        members = [(one, (tar.extractfile(one) or io.BytesIO()).read()) for one in tar]
    change(members)
    target = path.with_name("edited.bundle")
    with tarfile.open(target, "w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return target


def test_what_is_written_can_be_read(bundle: Path, tmp_path: Path) -> None:
    """Members come out as they went in, a program as one; the manifest tells runs and images."""
    with open_bundle(bundle) as opened:
        assert (opened.bundle.runs, opened.bundle.images, opened.bundle.with_images) == ((RUN,), IMAGES, False)
        opened.copy_out("project/images/alpha/go", tmp_path / "out" / "go")
        opened.copy_out(RUN.archive, tmp_path / "out" / "run")
    assert (tmp_path / "out" / "run").read_bytes() == b"archive"
    assert (tmp_path / "out" / "go").stat().st_mode & 0o111
    assert not (tmp_path / "out" / "run").stat().st_mode & 0o111


def test_equal_content_gives_equal_bytes(bundle: Path, tmp_path: Path) -> None:
    """Neither times nor the order in which members are named can be seen in the file; other programs open it."""
    again = tmp_path / "again.bundle"
    members = {"project/images/alpha/go": tmp_path / "script", RUN.archive: tmp_path / "run"}
    (tmp_path / "run").touch()
    write_bundle(again, members, [RUN], IMAGES)
    assert again.read_bytes() == bundle.read_bytes()
    with tarfile.open(bundle) as tar:
        assert tar.getnames() == ["bundle.json", "project/images/alpha/go", RUN.archive]


def changed_content(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """Change a byte, the size stays."""
    members[2] = (members[2][0], b"ARCHIVE")


def missing_member(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """Take the run away."""
    del members[2]


def stranger(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """Add what nobody listed."""
    members.append((tarfile.TarInfo("project/config/stranger"), b""))


def twice(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """Have one member two times."""
    members.append(members[2])


def a_link(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    """Put a link in the place of a file."""
    info = members[1][0]
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members[1] = (info, b"")


def _renamed(name: str) -> Edit:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        about = json.loads(members[0][1])
        about["files"][0]["path"] = name
        members[0] = (members[0][0], json.dumps(about).encode())
        members[1][0].name = name

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed_content, "crud-r1-0.tar.zst' is not what bundle.json says"),
        (missing_member, "crud-r1-0.tar.zst' is missing"),
        (stranger, "'project/config/stranger' is there twice, or not in bundle.json"),
        (twice, "is there twice, or not in bundle.json"),
        (a_link, "'project/images/alpha/go' is not what bundle.json says"),
        (_renamed("project/../../up"), "'project/../../up' leads out of the bundle"),
        (_renamed("/etc/cron.d/x"), "'/etc/cron.d/x' leads out of the bundle"),
        (_renamed("elsewhere/x"), "'elsewhere/x' stands where nothing belongs"),
        (_renamed("project/.git/hooks/x"), "'project/.git/hooks/x' stands where nothing belongs"),
        (_renamed("."), "'.' leads out of the bundle"),
        (lambda members: members.pop(0), "is no bundle"),
    ],
)
def test_a_bundle_that_is_not_as_it_was_written(bundle: Path, change: Edit, words: str) -> None:
    """Whatever is changed in a bundle is found before anything of it is used, and the member is named."""
    edited = edit(bundle, change)
    with pytest.raises(StorageError) as caught, open_bundle(edited):
        pass
    assert words in caught.value.what


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", ""])
def test_runs_with_names_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    """A run's name is a folder's: one that is hidden, or leads somewhere, is refused."""
    (tmp_path / "run").write_bytes(b"archive")
    bad = RUN.model_copy(update={"id": name})
    target = tmp_path / "bad.bundle"
    write_bundle(target, {RUN.archive: tmp_path / "run"}, [bad], ())
    with pytest.raises(StorageError, match="is no name of a run"), open_bundle(target):
        pass


def test_what_is_no_bundle(tmp_path: Path) -> None:
    """A file of another sort is refused with how bundles are made, one that is not there by its name."""
    (tmp_path / "text").write_text("hello" * 1000)
    with pytest.raises(StorageError, match="is no bundle") as caught, open_bundle(tmp_path / "text"):
        pass
    assert "--bundle" in caught.value.hint
    with pytest.raises(ConfigError, match="there is no file"), open_bundle(tmp_path / "absent"):
        pass


def test_a_member_of_any_size(bundle: Path) -> None:
    """A sparse member claims to be larger than any disk; it is refused before a byte of it is read."""

    def sparse(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        members[1][0].pax_headers = {"GNU.sparse.size": "9" * 15, "GNU.sparse.map": "0,0"}

    edited = edit(bundle, sparse)
    with pytest.raises(StorageError, match="is no bundle") as caught, open_bundle(edited):
        pass
    assert "does not have the size that it says" in caught.value.why


@pytest.mark.parametrize("left", [100, 600, 5_000])
def test_a_bundle_that_was_cut_short(bundle: Path, left: int) -> None:
    """What there is of a bundle is told from a file of another sort, however little it is."""
    (bundle.parent / "run").write_bytes(b"archive" * 1000)
    write_bundle(bundle, {RUN.archive: bundle.parent / "run"}, [RUN], IMAGES)
    data = bundle.read_bytes()[:left]
    bundle.write_bytes(data)
    with pytest.raises(StorageError, match="the bundle is incomplete") as caught, open_bundle(bundle):
        pass
    assert caught.value.why == f"it ends too early, after {len(data)} bytes"


def test_an_archive_is_no_bundle(tmp_path: Path) -> None:
    """The archive of a run is told from what nobody made, with what can be done with it."""
    archive = tmp_path / "run.tar.zst"
    write_bytes(archive, compressor("zstd").compress(b"") + compressor("zstd").flush())
    with pytest.raises(StorageError, match="is no bundle") as caught, open_bundle(archive):
        pass
    assert f"runner show {archive}" in caught.value.hint
