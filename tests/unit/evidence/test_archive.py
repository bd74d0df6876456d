"""The same tree gives the same archive, and nothing in a tree makes the archive lie or hang."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.archives import pack_members, take_members

from runner.errors import StorageError
from runner.evidence import content as content_module
from runner.evidence.archive import write_archive
from runner.evidence.compress import decompressed
from runner.evidence.content import open_file
from runner.evidence.layout import RunLayout
from runner.evidence.pack import Packer
from runner.evidence.tarformat import TarFolder, header
from runner.evidence.tree import scan
from runner.evidence.verify import verify_archive
from runner.evidence.walk import RawPath

KINDS = ["zstd", "gzip"]
NAMES = st.text(alphabet="ab\u00fc\n-", min_size=1, max_size=40).filter(lambda name: name not in {".", ".."})
CONTENTS = st.tuples(st.binary(max_size=600), st.booleans())
TREES = st.dictionaries(st.lists(NAMES, min_size=1, max_size=4).map("/".join), CONTENTS, max_size=6)


def _members(path: Path) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    with decompressed(path) as stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as tar:
        found = tar.getmembers()
        contents = [tar.extractfile(one) if one.isreg() else None for one in found]
        return {
            one.name: (one, content.read() if content else b"") for one, content in zip(found, contents, strict=True)
        }


def _build(root: Path, tree: dict[str, tuple[bytes, bool]], *, mask: int, backwards: bool, time: int) -> None:
    before = os.umask(mask)
    try:
        for name, (content, executable) in sorted(tree.items(), reverse=backwards):
            path = root / name
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            except OSError:
                continue
            if executable:
                path.chmod(0o777 & ~mask)
            os.utime(path, (time, time))
    finally:
        os.umask(before)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(tree=TREES)
def test_same_tree_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, kind: str, tree: dict[str, tuple[bytes, bool]]
) -> None:
    """Order of creation, umask, times and place on disk leave no trace in the archive."""
    first, second = (RunLayout(tmp_path_factory.mktemp(name)) for name in ("here", "there"))
    # A path that contradicts another is left out on both sides, so the order has to be the same where one is.
    contradicting = any(a != b and b.startswith(f"{a}/") for a in tree for b in tree)
    _build(first.workspace, tree, mask=0o022, backwards=False, time=1)
    _build(second.workspace, tree, mask=0o077, backwards=not contradicting, time=2_000_000_000)
    for layout in (first, second):
        layout.workspace.mkdir(exist_ok=True)
    one, two = write_archive(first, kind), write_archive(second, kind)
    assert one.path.read_bytes() == two.path.read_bytes()
    assert (one.sha256, one.tar_sha256) == (two.sha256, two.tar_sha256)
    assert verify_archive(one.path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_again_gives_the_same(layout: RunLayout, kind: str) -> None:
    """Archiving a directory that already holds its archives changes nothing: they are no members."""
    write_archive(layout, "gzip")
    first = write_archive(layout, kind)
    assert write_archive(layout, kind) == first
    names = _members(first.path)
    assert list(names)[-1] == "manifest.json"
    assert not [name for name in names if name.startswith("run.tar")]


def test_members_are_in_order_and_normal(layout: RunLayout) -> None:
    """Members stand by their path bytes, the manifest behind them, with owner 0:0, time 0 and plain permissions."""
    script = layout.workspace / "app-script"
    script.write_text("x")
    script.chmod(0o710)
    (layout.workspace / "link").symlink_to("app/main.py")
    found = _members(write_archive(layout, "zstd").path)
    *names, last = (name.encode() for name in found)
    assert last == b"manifest.json"
    assert names == sorted(names)
    assert {(one.uid, one.gid, one.uname, one.gname, one.mtime) for one, _ in found.values()} == {(0, 0, "", "", 0)}
    modes = {name: one.mode for name, (one, _) in found.items()}
    assert modes["generated_artifacts/app-script"] == 0o755
    assert modes["generated_artifacts/app/main.py"] == 0o644
    assert modes["generated_artifacts/app"] == 0o755
    assert found["generated_artifacts/link"][0].linkname == "app/main.py"
    assert found["generated_artifacts/app/main.py"][1] == b"print('hello')\n"


def test_hostile_tree(layout: RunLayout, make_hostile: Callable[[Path], None]) -> None:
    """Links stay links, names of any bytes survive, hard links are files; what holds nothing is listed as skipped."""
    make_hostile(layout.workspace)
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(layout.workspace)
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
        info = write_archive(layout, "zstd")
    assert [str(one) for one in info.skipped] == [
        "generated_artifacts/fifo: a fifo, which holds nothing to keep",
        "generated_artifacts/socket: a socket, which holds nothing to keep",
    ]
    found = _members(info.path)
    assert len(found) == info.members
    assert found["generated_artifacts/shadow"][0].issym()
    assert found["generated_artifacts/everything"][0].linkname == "/"
    assert found["generated_artifacts/not-utf8-\udcff\udcfe"][1] == b"raw"
    assert found["generated_artifacts/link-\udcfe"][0].linkname == "target-\udcff"
    assert found["generated_artifacts/hard"][0].isreg()
    assert found["generated_artifacts/hard"][1] == b"unicode"
    assert any(content == b"deep" for _, content in found.values())
    assert verify_archive(info.path) == []


def test_long_names_that_are_no_text(layout: RunLayout) -> None:
    """Names and targets longer than a tar header holds keep their bytes, whether or not they are UTF-8."""
    raw = os.fsencode(layout.workspace)
    for name in (b"\xff" * 200, "\u00fc".encode() * 100):
        os.mkdir(raw + b"/" + name)  # noqa: PTH102  the name is no text
        os.symlink(name * 2, raw + b"/" + name + b"/link")  # noqa: PTH211  the name is no text
    info = write_archive(layout, "gzip")
    found = _members(info.path)
    assert found["generated_artifacts/" + "\udcff" * 200 + "/link"][0].linkname == "\udcff" * 400
    assert found["generated_artifacts/" + "\u00fc" * 100 + "/link"][0].linkname == "\u00fc" * 200
    assert verify_archive(info.path) == []


@pytest.mark.processes
@pytest.mark.skipif(not shutil.which("tar"), reason="no tar on this machine")
def test_system_tar_opens_it(layout: RunLayout, make_hostile: Callable[[Path], None], tmp_path: Path) -> None:
    """What the system's own tar extracts is the tree that was archived."""
    make_hostile(layout.workspace)
    (layout.workspace / "fifo").unlink()
    os.mkdir(os.fsencode(layout.workspace) + b"/" + b"\xff" * 120)  # noqa: PTH102  the name is no text
    info = write_archive(layout, "gzip")
    target = tmp_path / "extracted"
    target.mkdir()
    done = subprocess.run(["tar", "-xzf", info.path, "-C", target], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    compared = subprocess.run(
        ["diff", "-r", "--no-dereference", layout.workspace, target / "generated_artifacts"],
        capture_output=True,
        check=False,
    )
    assert compared.stdout == b""
    assert set(scan(target / "generated_artifacts").entries) == set(scan(layout.workspace).entries)


@pytest.mark.parametrize("kind", KINDS)
def test_digests_are_what_they_say(layout: RunLayout, kind: str) -> None:
    """Both digests, in the result and in the files beside the archive, are those of the bytes."""
    info = write_archive(layout, kind)
    with decompressed(info.path) as stream:
        tar = stream.read()
    assert info.sha256 == hashlib.sha256(info.path.read_bytes()).hexdigest()
    assert info.tar_sha256 == hashlib.sha256(tar).hexdigest()
    assert info.bytes == info.path.stat().st_size
    assert layout.archive_digest(kind).read_text() == f"{info.sha256}  {info.path.name}\n"
    assert layout.tar_digest.read_text() == f"{info.tar_sha256}  run.tar\n"
    assert len(tar) % 10240 == 0


def test_headers_name_no_time_and_no_machine(layout: RunLayout) -> None:
    """A gzip archive begins with a header without time, name and system; zstd's does not depend on the size."""
    assert write_archive(layout, "gzip").path.read_bytes()[:10].hex() == "1f8b08000000000000ff"
    assert write_archive(layout, "zstd").path.read_bytes()[:6].hex() == "28b52ffd0450"


def test_pax_records_of_names_that_are_no_text() -> None:
    """A name that is not UTF-8 and does not fit a header is declared as bytes before it is given."""
    extended = header(TarFolder(path=b"\xff" * 120))[512:1024].rstrip(b"\0")
    assert extended == b"21 hdrcharset=BINARY\n131 path=" + b"\xff" * 120 + b"/\n"
    assert header(TarFolder(path=b"x" * 120))[512:1024].rstrip(b"\0") == b"131 path=" + b"x" * 120 + b"/\n"


def test_too_large_a_file_is_listed(layout: RunLayout) -> None:
    """A file beyond the largest member, however sparse, is skipped by name and size without being read."""
    with (layout.workspace / "sparse").open("wb") as stream:
        stream.truncate(10**12)
    info = write_archive(layout, "zstd")
    assert [str(one) for one in info.skipped] == [
        "generated_artifacts/sparse: 1000000000000 bytes, more than the 8589934592 of the largest member"
    ]
    manifest = json.loads(_members(info.path)["manifest.json"][1])
    assert manifest["skipped"][0]["path"] == "generated_artifacts/sparse"


def test_name_of_the_manifest_is_taken(layout: RunLayout) -> None:
    """A file that has the manifest's name is listed as skipped, not archived twice under it."""
    (layout.root / "manifest.json").write_text("{}")
    info = write_archive(layout, "zstd")
    assert [str(one) for one in info.skipped] == ["manifest.json: the archive's own manifest has this name"]
    assert verify_archive(info.path) == []


def _disturb(monkeypatch: pytest.MonkeyPatch, disturb: Callable[[RawPath, int], object]) -> None:
    """Have `disturb` called with a path and how often it was read before, each time a file is read."""
    read, reads = open_file, dict[RawPath, int]()

    def disturbed(root: int, path: RawPath) -> int:
        disturb(path, reads.get(path, 0))
        reads[path] = reads.get(path, 0) + 1
        return read(root, path)

    monkeypatch.setattr(content_module, "open_file", disturbed)


@pytest.mark.parametrize("change", ["shrink", "grow", "vanish", "replace"])
def test_file_that_changes_once(layout: RunLayout, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """A file that changes after it was looked at is archived as it is afterwards, or not at all if gone."""
    path = layout.workspace / "app" / "main.py"
    (path.parent / "other").symlink_to("/etc/shadow")
    actions: dict[str, Callable[[], object]] = {
        "shrink": lambda: path.write_text("x"),
        "grow": lambda: path.write_text("x" * 5000),
        "vanish": path.unlink,
        "replace": lambda: (path.parent / "other").replace(path),
    }
    _disturb(monkeypatch, lambda name, times: actions[change]() if name.endswith(b"main.py") and times == 0 else None)
    info = write_archive(layout, "zstd")
    assert info.skipped == ()
    assert verify_archive(info.path) == []
    found = _members(info.path).get("generated_artifacts/app/main.py")
    expected = {"shrink": b"x", "grow": b"x" * 5000, "replace": b""}.get(change)
    assert (found[1] if found else None) == expected


def test_file_that_never_rests(layout: RunLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes whenever it is read is left out, and the rest is archived."""
    path = layout.workspace / "app" / "main.py"
    _disturb(monkeypatch, lambda name, times: name.endswith(b"main.py") and path.write_text("x" * times))
    info = write_archive(layout, "zstd")
    assert [str(one) for one in info.skipped] == ["generated_artifacts/app/main.py: was being written all the time"]
    assert "metadata.json" in _members(info.path)
    assert verify_archive(info.path) == []


def test_unreadable_file_is_listed(layout: RunLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read is skipped with the system's reason."""

    def refuse(name: RawPath, times: int) -> None:
        if name.endswith(b"main.py"):
            raise PermissionError(13, "Permission denied")

    _disturb(monkeypatch, refuse)
    info = write_archive(layout, "zstd")
    assert [str(one) for one in info.skipped] == ["generated_artifacts/app/main.py: cannot be read: Permission denied"]


def test_failed_archive_leaves_the_old_one(layout: RunLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    """When writing fails half way, the earlier archive still stands, and no temporary file."""
    before = write_archive(layout, "zstd")

    def fail(_: Packer, data: bytes) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Packer, "write", fail)
    with pytest.raises(StorageError, match="No space left"):
        write_archive(layout, "zstd")
    assert verify_archive(before.path) == []
    assert not list(layout.root.glob(".tmp-*"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("old", [False, True])
def test_verify_names_what_was_tampered_with(layout: RunLayout, tmp_path: Path, kind: str, *, old: bool) -> None:
    """A member that was changed, removed or added after the fact is named."""
    info = write_archive(layout, kind)
    with decompressed(info.path) as stream:
        members = take_members(stream.read())
    changed = [
        (one, b"PRINT('hello')\n" if one.name.endswith("main.py") else content)
        for one, content in members
        if one.name != "state/home/.cache"
    ]
    forged = pack_members(tmp_path / "forged.tar.gz", [*changed, (tarfile.TarInfo("../outside"), b"")], old=old)
    found = [str(one) for one in verify_archive(forged)]
    assert found[0].startswith("generated_artifacts/app/main.py: has sha256 ")
    assert found[1:] == [
        "../outside: leads out of the archive",
        "../outside: is not in the manifest, or there twice",
        "state/home/.cache: is missing",
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["truncated", "flipped", "no archive", "empty"])
def test_verify_survives_damage(layout: RunLayout, kind: str, damage: str) -> None:
    """A damaged archive is reported as such, without an exception."""
    (layout.workspace / "random").write_bytes(os.urandom(200_000))
    path = write_archive(layout, kind).path
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        {
            "truncated": data[:middle],
            "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "no archive": b"hello",
            "empty": b"",
        }[damage]
    )
    found = [str(one) for one in verify_archive(path)]
    assert found[0].startswith(f"sha256 of {path.name} is ")
    assert len(found) > 1
