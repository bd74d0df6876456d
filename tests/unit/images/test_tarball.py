"""The deterministic tar writer."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.images.tarball import DIRECTORY, HARDLINK, SYMLINK, Entry, archive, stream

NAMES = st.text(
    st.characters(blacklist_characters="\x00/", blacklist_categories=["Cs"]), min_size=1, max_size=150
).filter(lambda name: name not in {".", ".."})


def _read(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getmembers()


@given(name=NAMES, content=st.binary(max_size=2000), mode=st.integers(0, 0o7777), uid=st.integers(0, 2**32 - 2))
def test_what_is_written_can_be_read_by_the_standard_library(name: str, content: bytes, mode: int, uid: int) -> None:
    """Any name, owner and content survives, however long or foreign."""
    entry = Entry(path=name, mode=mode, uid=uid, gid=uid, mtime=1_700_000_000, size=len(content))
    data = b"".join(archive([(entry, [content])]))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        (member,) = tar.getmembers()
        assert (member.name, member.mode, member.uid, member.mtime) == (name, mode, uid, 1_700_000_000)
        file = tar.extractfile(member)
        assert file is not None
        assert file.read() == content


def test_links_folders_and_attributes_survive() -> None:
    """Symbolic links, hard links, folders and extended attributes are read back as they were written."""
    target = "a/" + "long/" * 40 + "target"
    entries = [
        Entry(path="a", type=DIRECTORY, mode=0o1777),
        Entry(path="b", type=SYMLINK, mode=0o777, link=target),
        Entry(path="c", xattrs={"security.capability": "\x01\udc80\n"}),
        Entry(path="d", type=HARDLINK, link="c"),
    ]
    folder, link, file, hard = _read(b"".join(archive((entry, ()) for entry in entries)))
    assert folder.isdir()
    assert folder.mode == 0o1777
    assert (link.issym(), link.linkname) == (True, target)
    assert file.pax_headers["SCHILY.xattr.security.capability"] == "\x01\udc80\n"
    assert (hard.islnk(), hard.linkname) == (True, "c")


def test_the_bytes_are_fixed() -> None:
    """The archive of given entries has the same bytes with every version of Python, for ever."""
    entries = [
        Entry(path="dir", type=DIRECTORY, mode=0o755, mtime=1),
        Entry(path="dir/é", mtime=1, size=3),
    ]
    data = b"".join(archive(zip(entries, [(), (b"abc",)], strict=True)))
    assert hashlib.sha256(data).hexdigest() == "ca5925d8e85b7afa4febeb1e2339311cf7b0e57e96be1704d4febf5c3040e999"


def test_a_wrong_size_is_an_error() -> None:
    """Content that is not as long as announced never gives a broken archive silently."""
    with pytest.raises(ValueError, match="x has 2 bytes where 3 were announced"):
        list(archive([(Entry(path="x", size=3), (b"ab",))]))


def test_a_stream_gives_all_bytes_in_any_portion() -> None:
    """Reading by odd portions gives the same bytes as joining the chunks."""
    chunks = [b"a" * 10, b"", b"b" * 70_000, b"c"]
    with stream(iter(chunks)) as file:
        read = b"".join(iter(lambda: file.read(997), b""))
    assert read == b"".join(chunks)
