"""An archive that was tampered with is refused with the member's name, and never writes outside its folder."""

from __future__ import annotations

import hashlib
import io
import os
import random
import tarfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.archives import pack, pack_members, take_members

from runner.errors import StorageError
from runner.evidence.archive import write_archive
from runner.evidence.compress import compressor, decompressed, ending
from runner.evidence.contents import archived_contents, read_contents
from runner.evidence.layout import RunLayout
from runner.evidence.manifest import Listed, encode
from runner.evidence.tarformat import TarFile, TarFolder, TarLink, TarMember, header, padding, raw_header, trailer
from runner.evidence.unpack import below, unpack
from runner.evidence.verify import verify_archive

SHA_OF_X = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


def _forge(path: Path, members: list[TarMember]) -> Path:
    """Write an archive whose manifest lists its members rightly, whatever they are; every file's content is `x`."""
    listed = [Listed(member=one, sha256=SHA_OF_X if isinstance(one, TarFile) else "") for one in members]
    manifest = encode(listed, ())
    tar = header(TarFile(path=b"manifest.json", size=len(manifest), executable=False)) + manifest
    tar += padding(len(manifest))
    for one in members:
        tar += header(one) + (b"x" + padding(1) if isinstance(one, TarFile) else b"")
    packed = compressor("zstd")
    path.write_bytes(packed.compress(tar + trailer(len(tar))) + packed.flush())
    return path


def _file(path: bytes) -> TarFile:
    return TarFile(path=path, size=1, executable=False)


@pytest.mark.parametrize("kind", ["zstd", "gzip"])
def test_what_was_archived_comes_back(
    layout: RunLayout, make_hostile: Callable[[Path], None], tmp_path: Path, kind: str
) -> None:
    """Content, names and links come back; links that lead out do not, and are told."""
    make_hostile(layout.workspace)
    (layout.workspace / "within").symlink_to("./app/../app/main.py")
    (layout.workspace / "app" / "up").symlink_to("../app/main.py")
    left_out = unpack(write_archive(layout, kind).path, tmp_path / "out")
    told = {one.path: one.reason for one in left_out}
    assert told[b"generated_artifacts/shadow"] == "a link that leads out: /etc/shadow"
    # A link that goes down and up again may lead anywhere by way of another link.
    assert b"generated_artifacts/within" in told
    old, new = read_contents(layout.root).entries, read_contents(tmp_path / "out").entries
    own = {path for path in old if path.startswith(b"run.tar")}
    assert old.keys() - own - told.keys() == new.keys()
    assert os.readlink(tmp_path / "out" / "generated_artifacts" / "app" / "up") == "../app/main.py"  # noqa: PTH115


def test_only_what_is_wanted(layout: RunLayout, tmp_path: Path) -> None:
    """What is not wanted is checked and not written; folders on the way are made."""
    unpack(write_archive(layout, "zstd").path, tmp_path / "out", below("generated_artifacts/app", "metadata.json"))
    names = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*"))
    assert names == [
        "generated_artifacts",
        "generated_artifacts/app",
        "generated_artifacts/app/main.py",
        "metadata.json",
    ]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([_file(b"../evil")], "../evil: leads out"),
        ([_file(b"/tmp/evil")], "/tmp/evil: leads out"),
        ([_file(b"a/../../evil")], "a/../../evil: leads out"),
        ([TarLink(path=b"a", target=b"b"), _file(b"a/evil")], "a/evil: stands in what is no folder"),
        ([_file(b"a"), _file(b"a/evil")], "a/evil: stands in what is no folder"),
        ([_file(b"b"), _file(b"b")], "it lists b twice"),
    ],
)
def test_members_that_lead_elsewhere(tmp_path: Path, members: list[TarMember], words: str) -> None:
    """A member whose name leads out, or through a link or a file, is refused by name although the manifest lists it."""
    with pytest.raises(StorageError, match=words):
        unpack(_forge(tmp_path / "forged.tar.zst", members), tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("evil"))
    assert not Path("/tmp/evil").exists()


def test_a_member_behind_a_link_is_not_written_through_it(tmp_path: Path) -> None:
    """A link to a folder outside and a file below it: neither is written."""
    members: list[TarMember] = [
        TarLink(path=b"a", target=bytes(tmp_path)),
        TarFolder(path=b"b"),
        _file(b"a/evil"),
    ]
    unpack(_forge(tmp_path / "forged.tar.zst", members), tmp_path / "out")
    # The link was left out, so its name is free, and the file is in a folder of the archive's own.
    assert (tmp_path / "out" / "a" / "evil").is_file()
    assert not (tmp_path / "evil").exists()


def test_too_much(tmp_path: Path) -> None:
    """An archive that holds more than is to be written is refused."""
    forged = _forge(tmp_path / "forged.tar.zst", [_file(b"a"), _file(b"b")])
    with pytest.raises(StorageError, match="b: with it, what is unpacked is too large"):
        unpack(forged, tmp_path / "out", most=1)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE])
def test_devices_and_their_like(tmp_path: Path, kind: bytes) -> None:
    """A member that is no file, folder or symbolic link is refused whatever the manifest calls it."""
    manifest = encode([Listed(member=_file(b"dev"), sha256=SHA_OF_X)], ())
    path = tmp_path / "forged.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        first, second = tarfile.TarInfo("manifest.json"), tarfile.TarInfo("dev")
        first.size, second.type, second.linkname = len(manifest), kind, "manifest.json"
        tar.addfile(first, io.BytesIO(manifest))
        tar.addfile(second)
    with pytest.raises(StorageError, match="dev: is of type"):
        unpack(path, tmp_path / "out")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the tar of an archive of some files of text and noise."""
    layout = RunLayout(tmp_path_factory.mktemp("fuzz") / "run")
    layout.workspace.mkdir(parents=True)
    for number in range(8):
        (layout.workspace / f"file-{number}").write_bytes(random.Random(number).randbytes(100 + 700 * number))
    (layout.workspace / "link").symlink_to("file-1")
    with decompressed(write_archive(layout, "zstd").path) as stream:
        return stream.read()


@pytest.fixture(scope="module", params=["ours", "earlier"])
def tar(request: pytest.FixtureRequest, whole: bytes) -> tuple[bytes, int | None]:
    """Return a tar of an archive, and where the manifest begins that the archive's end leads to."""
    members_end = whole.rindex(b"manifest.json\0")
    if request.param == "ours":
        return whole, members_end
    manifest = whole[members_end:].rstrip(b"\0")
    manifest += padding(len(manifest))
    return manifest + whole[:members_end] + trailer(len(manifest) + members_end), None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit(
    tar: tuple[bytes, int | None], tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    """Whichever bit of the tar is flipped, the archive is refused, or what comes out of it is what went in."""
    data, last = tar
    folder = tmp_path_factory.mktemp("flip")
    sound = pack(folder / "sound.tar.gz", data, last)
    position = int(place * len(data))
    flipped = bytearray(data)
    flipped[position] ^= 1 << bit
    damaged = pack(folder / "damaged.tar.gz", bytes(flipped), last)
    unpack(sound, folder / "sound")
    with pytest.raises(StorageError, match="the archive is damaged") if verify_archive(damaged) else nullcontext():
        unpack(damaged, folder / "damaged")
        assert read_contents(folder / "damaged") == read_contents(folder / "sound")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 0.99))
def test_cut_short(tar: tuple[bytes, int | None], tmp_path_factory: pytest.TempPathFactory, place: float) -> None:
    """An archive that ends within its members is refused wherever it ends."""
    data, last = tar
    members_end = len(data.rstrip(b"\0"))
    damaged = pack(tmp_path_factory.mktemp("cut") / "cut.tar.gz", data[: int(place * members_end)], last)
    assert verify_archive(damaged)
    with pytest.raises(StorageError, match="the archive is damaged"):
        unpack(damaged, damaged.parent / "out")


@pytest.mark.parametrize("old", [False, True])
def test_another_order(whole: bytes, tmp_path: Path, *, old: bool) -> None:
    """Members in another order than the manifest's are refused by name: the same tree has one archive only."""
    members = take_members(whole)
    members[2], members[3] = members[3], members[2]
    path = pack_members(tmp_path / "order.tar.gz", members, old=old)
    assert [str(one) for one in verify_archive(path)] == [
        f"{members[3][0].name}: stands at another place than in the manifest"
    ]


def test_a_second_manifest(whole: bytes, tmp_path: Path) -> None:
    """The end may lead to one manifest only, the last member: another one, or one that is no member there, is refused."""
    at = whole.rindex(b"manifest.json\0")
    small = encode([], ())
    other = header(TarFile(path=b"manifest.json", size=len(small), executable=False)) + small + padding(len(small))
    found = {
        "another": pack(tmp_path / "another.tar.gz", whole[:at] + other + bytes(1024), at),
        "hidden": _hidden(tmp_path / "hidden.tar.gz", whole, other),
        "first": pack(tmp_path / "first.tar.gz", other + whole, len(other) + at),
        "behind": pack(tmp_path / "behind.tar.gz", whole.rstrip(b"\0") + padding(len(whole.rstrip(b"\0"))) + other, at),
    }
    words = {name: [str(one) for one in verify_archive(path)][-1] for name, path in found.items()}
    assert words == {
        "another": "generated_artifacts/link: is not in the manifest, or there twice",
        "hidden": "manifest.json: is another one than the archive's end leads to",
        "first": "manifest.json: does not stand where the archive's end says",
        "behind": "manifest.json: does not stand where the archive's end says",
    }
    for name, path in found.items():
        with pytest.raises(StorageError, match="the archive is damaged"):
            unpack(path, tmp_path / name)


def _hidden(path: Path, tar: bytes, other: bytes) -> Path:
    """Write an archive whose end leads to a manifest that a reader of the whole never gets to."""
    frames = [compressor("gzip") for _ in range(2)]
    whole, last = (
        one.compress(data) + one.flush() for one, data in zip(frames, (tar, other + bytes(1024)), strict=True)
    )
    path.write_bytes(whole + last + ending("gzip", len(last)))
    return path


def _forged(path: Path, members: list[TarMember], after: bytes) -> Path:
    """Write an archive whose manifest lists some members, and in which something follows it."""
    manifest = encode([Listed(member=one, sha256=SHA_OF_X) for one in members], ())
    return _with_manifest(path, manifest, after)


def _with_manifest(path: Path, manifest: bytes, after: bytes = b"") -> Path:
    tar = header(TarFile(path=b"manifest.json", size=len(manifest), executable=False)) + manifest
    return pack(path, tar + padding(len(manifest)) + after + bytes(1024), None)


def _pax(*fields: tuple[str, str]) -> bytes:
    """Return an extended header of these fields."""
    records = b""
    for key, value in fields:
        record = f" {key}={value}\n"
        length = len(record) + 2
        records += f"{length + (length > 99)}{record}".encode()
    return raw_header(tarfile.XHDTYPE, b"pax", size=len(records), mode=0o644) + records + padding(len(records))


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (raw_header(tarfile.XHDTYPE, b"pax", size=8**11 - 1, mode=0o644), "pax: has a header of 8589934591 bytes"),
        (raw_header(tarfile.GNUTYPE_LONGNAME, b"long", size=8**11 - 1, mode=0o644), "long: has a header of"),
        (_pax(("path", "a")) * 3000, "a header cannot be used: maximum recursion"),
        (
            _pax(("GNU.sparse.size", "9" * 15), ("GNU.sparse.map", "0,0"))
            + header(TarFile(path=b"a", size=0, executable=False)),
            "a: does not have the size that it says",
        ),
        (_pax(("GNU.sparse.size", "x"), ("GNU.sparse.map", "y")) + header(_file(b"a")), "a header cannot be used"),
        (_pax(("size", "-1024")) + header(TarFile(path=b"a", size=0, executable=False)), "does not have the size"),
    ],
)
def test_headers_that_claim_too_much(tmp_path: Path, after: bytes, words: str) -> None:
    """A header that would take all memory, all stack or all time to follow is refused in words, by every reader."""
    forged = _forged(tmp_path / "forged.tar.gz", [_file(b"a")], after)
    with pytest.raises(StorageError, match=words):
        unpack(forged, tmp_path / "out")
    assert any(words in str(one) for one in verify_archive(forged))


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (b'{"version": 2,\n"members": [],\n"skipped": []}\n', "its version is 2"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"version": 1,\n"members": [\n' + b"[" * 100_000 + b"\n]}\n", "nested too deeply"),
        (b'{"version": 1,\n"skipped": []}\n', "lists no members"),
        (b'{"version": 1,\n"members": [\n3\n]}\n', "a line of it is no JSON object"),
        (b'{"version": 1,\n"members": [\n{"path": null, "type": "directory"}\n]}\n', "no usable 'NoneType'"),
        (b'{"version": 1,\n"members": [\n{"path": "a", "type": "directory"},\n', "ends too soon"),
        (
            b'{"version": 1,\n"members": [\n' + b'{"path": "a", "type": "directory"},\n' * 2 + b"]}\n",
            "it lists a twice",
        ),
        (b'{"version": 1,\n"members": [\n' + b" " * 2_000_000 + b"3\n]}\n", "Expecting value"),
    ],
)
def test_manifests_that_are_none(tmp_path: Path, manifest: bytes, words: str) -> None:
    """A manifest is read line by line: one that is anything else is refused, whatever a JSON reader would make of it."""
    forged = _with_manifest(tmp_path / "forged.tar.gz", manifest)
    with pytest.raises(StorageError, match=words):
        unpack(forged, tmp_path / "out")
    assert any(words in str(one) for one in verify_archive(forged))
    with pytest.raises(StorageError, match="manifest cannot be used"):
        archived_contents(forged, "generated_artifacts")


def test_as_many_members_as_there_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive of more members than may be is neither written nor read, and told apart from one of just as many."""
    layout = RunLayout(tmp_path / "run")
    layout.root.mkdir()
    for number in range(3):
        (layout.root / str(number)).write_text("x")
    monkeypatch.setattr("runner.evidence.archive.MOST", 3)
    written = write_archive(layout, "zstd").path
    monkeypatch.setattr("runner.evidence.manifest.MOST", 3)
    assert verify_archive(written) == []
    monkeypatch.setattr("runner.evidence.manifest.MOST", 2)
    assert "lists more than 2 members" in str(verify_archive(written))
    monkeypatch.setattr("runner.evidence.archive.MOST", 2)
    with pytest.raises(StorageError, match="3 members are more than an archive can list"):
        write_archive(layout, "zstd")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([_file(b"a/b"), _file(b"a")], "a: cannot be made: File exists"),
        ([_file(b"a/b"), TarLink(path=b"a", target=b"x")], "a: cannot be made: File exists"),
        ([_file(b"n" * 300)], "n: cannot be made: File name too long"),
        ([TarLink(path=b"n", target=b"")], "n: cannot be made: No such file"),
        ([_file(b"/".join([b"n"] * 10_000))], "its path has 19999 bytes"),
    ],
)
def test_members_that_no_folder_can_hold(tmp_path: Path, members: list[TarMember], words: str) -> None:
    """What cannot be made beside what is there, or at all, is the archive's fault and named."""
    with pytest.raises(StorageError, match=words):
        unpack(_forge(tmp_path / "forged.tar.zst", members), tmp_path / "out")


def test_another_tar(tmp_path: Path) -> None:
    """A tar that is not the expected one is refused although its own manifest fits, also for what follows its end."""
    forged = _forge(tmp_path / "forged.tar.zst", [_file(b"a")])
    with decompressed(forged) as stream:
        right = hashlib.sha256(stream.read()).hexdigest()
    unpack(forged, tmp_path / "right", tar_sha256=right)
    longer = tmp_path / "longer.tar.zst"
    longer.write_bytes(forged.read_bytes() + zstandard.compress(b"more"))
    for archive, sha256 in ((forged, "0" * 64), (longer, right)):
        with pytest.raises(StorageError, match="the tar in it has sha256"):
            unpack(archive, tmp_path / f"wrong-{archive.name}", tar_sha256=sha256)
