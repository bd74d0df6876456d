"""Reading Debian packages."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from runner.errors import ImageError
from runner.images import debs

CONTROL = b"Package: demo\nVersion: 1\nArchitecture: all\n"


def _tar(members: dict[str, bytes | str | None]) -> bytes:
    """Write a tar; None is a folder, text the target of a symbolic link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.mode = 0o755
            if content is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return out.getvalue()


def _deb(
    path: Path, data: dict[str, bytes | str | None], pack: Callable[[bytes], bytes] = gzip.compress, kind: str = "gz"
) -> Path:
    """Write a package as deb(5) describes it."""
    members = {
        "debian-binary": b"2.0\n",
        "control.tar.gz": gzip.compress(_tar({"./": None, "./control": CONTROL})),
        f"data.tar.{kind}": pack(_tar(data)),
    }
    with path.open("wb") as out:
        out.write(b"!<arch>\n")
        for name, content in members.items():
            out.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode())
            out.write(content + b"\n" * (len(content) % 2))
    return path


@pytest.mark.parametrize(
    ("kind", "pack"), [("gz", gzip.compress), ("xz", lzma.compress), ("zst", zstandard.ZstdCompressor().compress)]
)
def test_every_compression_is_read(tmp_path: Path, kind: str, pack: Callable[[bytes], bytes]) -> None:
    """Packages of every Debian and Ubuntu release can be read."""
    deb = _deb(tmp_path / "demo.deb", {"./usr/share/x.whl": b"wheel"}, pack, kind)
    debs.extract_file(deb, ".whl", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"wheel"
    assert debs.control(deb) == CONTROL.decode()


def test_an_unknown_compression_is_named(tmp_path: Path) -> None:
    """A package that cannot be read says why."""
    deb = _deb(tmp_path / "demo.deb", {}, lambda data: data, "lz9")
    with pytest.raises(ImageError, match=r"is compressed in an unknown way\nIts member is called data\.tar\.lz9"):
        debs.extract_file(deb, "x", tmp_path / "out")


def test_something_else_is_no_package(tmp_path: Path) -> None:
    """A mirror's error page is not taken for a package."""
    (tmp_path / "x.deb").write_bytes(b"<html>not found</html>")
    with pytest.raises(ImageError, match="is no Debian package\nIt does not begin like an ar archive"):
        debs.control(tmp_path / "x.deb")


def test_root_folders_are_merged_into_usr(tmp_path: Path) -> None:
    """What a package puts into /bin or /lib lands under /usr, and /bin is a link, as on a present system."""
    first = _deb(tmp_path / "1.deb", {"./bin/": None, "./bin/sh": "dash", "./bin/dash": b"1", "./etc/": None})
    second = _deb(tmp_path / "2.deb", {"./etc/": None, "./etc/x": b"2", "./lib/y": b"3", "./usr/bin/z": b"4"})
    debs.write_root([first, second], tmp_path / "root.tar")
    with tarfile.open(tmp_path / "root.tar") as root:
        members = {member.name: member for member in root}
        names = [member.name for member in root]
    assert len(names) == len(set(names))
    assert members["bin"].linkname == "usr/bin"
    assert {"usr/bin/sh", "usr/bin/dash", "usr/lib/y", "usr/bin/z", "etc/x"} <= set(names)


def test_what_dpkg_leaves_out_is_left_out(tmp_path: Path) -> None:
    """Documentation that dpkg would not unpack is not in the first root either; licences are."""
    (tmp_path / "etc" / "dpkg" / "dpkg.cfg.d").mkdir(parents=True)
    (tmp_path / "etc" / "dpkg" / "dpkg.cfg.d" / "slim").write_text(
        "# less\npath-exclude=/usr/share/doc/*\npath-include=/usr/share/doc/*/copyright\n"
    )
    data: dict[str, bytes | str | None] = {
        "./usr/share/doc/x/NEWS": b"1",
        "./usr/share/doc/x/copyright": b"2",
        "./usr/bin/x": b"3",
    }
    debs.write_root([_deb(tmp_path / "1.deb", data)], tmp_path / "root.tar", debs.read_rules(tmp_path))
    with tarfile.open(tmp_path / "root.tar") as root:
        assert [member.name for member in root if member.isreg()] == ["usr/share/doc/x/copyright", "usr/bin/x"]
