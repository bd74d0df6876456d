"""The tar format, as far as an archive of evidence needs it: pure functions from members to bytes.

POSIX.1-2017 ustar headers, with a pax extended header where a name or a size does not fit. Written out here because
equal trees have to give equal bytes whatever version of whatever library is installed: owner 0:0 without names,
modification time 0, no volume or device fields.
"""

from __future__ import annotations

from dataclasses import dataclass

BLOCK = 512
_RECORD = 20 * BLOCK
"""An archive's length is a multiple of this, as tar programs have it since tapes."""
_MOST_NAME = 100
_MOST_SIZE = 8**11 - 1
REGULAR, HARDLINK, SYMLINK, FOLDER = b"0", b"1", b"2", b"5"
"""Type flags of members."""
_EXTENDED = b"x"
_ZEROS = bytes(BLOCK)
_REST = b"".join((b"ustar\x0000", bytes(32 + 32), b"%07o\0%07o\0" % (0, 0), bytes(155 + 12)))
"""What ends every header: the format, no names of owners, no device, no prefix."""
_REST_SUM = sum(_REST) + sum(b" " * 8)


@dataclass(frozen=True, kw_only=True, slots=True)
class TarFile:
    """A regular file."""

    path: bytes
    size: int
    executable: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class TarFolder:
    path: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class TarLink:
    """A symbolic link."""

    path: bytes
    target: bytes


TarMember = TarFile | TarFolder | TarLink


def header(member: TarMember) -> bytes:
    """Return what stands before a member's content: one block, or three and more if a field does not fit in one."""
    match member:
        case TarFile():
            kind, path, target, size = REGULAR, member.path, b"", member.size
        case TarFolder():
            kind, path, target, size = FOLDER, member.path + b"/", b"", 0
        case TarLink():
            kind, path, target, size = SYMLINK, member.path, member.target, 0
    return raw_header(kind, path, target=target, size=size, mode=permissions(member))


def raw_header(kind: bytes, path: bytes, *, target: bytes = b"", size: int = 0, mode: int) -> bytes:
    """Return the blocks before a member's content from the fields as they stand in it.

    Args:
        kind: type flag, like REGULAR.
        path: its name; a folder's ends in a slash.
        target: what a link of either sort points to.
        size: bytes of content that follow.
        mode: permission bits, written as they are.
    """
    records = _too_long(path, target, size)
    block = _block(kind, path[:_MOST_NAME], target[:_MOST_NAME], 0 if size > _MOST_SIZE else size, mode)
    if not records:
        return block
    return _block(_EXTENDED, b"pax", b"", len(records), 0o644) + records + padding(len(records)) + block


def permissions(member: TarMember) -> int:
    """Return a member's normalised permission bits: only whether a file can be executed survives a umask."""
    match member:
        case TarFile():
            return 0o755 if member.executable else 0o644
        case TarFolder():
            return 0o755
        case TarLink():
            return 0o777


def padding(size: int) -> bytes:
    """Return the zeros that fill a member's last block."""
    return bytes(-size % BLOCK)


def trailer(size: int) -> bytes:
    """Return the end of an archive of which `size` bytes are written: two zero blocks, and the record filled."""
    return bytes(2 * BLOCK + -(size + 2 * BLOCK) % _RECORD)


def _block(kind: bytes, path: bytes, target: bytes, size: int, mode: int) -> bytes:
    told = b"%07o\0%07o\0%07o\0%011o\0%011o\0" % (mode, 0, 0, size, 0)
    # The checksum is taken with its own eight bytes as spaces. Zeros add nothing, so only what is none is summed.
    checksum = b"%06o\0 " % (sum(path) + sum(told) + sum(kind) + sum(target) + _REST_SUM)
    return b"".join(
        (
            path,
            _ZEROS[: _MOST_NAME - len(path)],
            told,
            checksum,
            kind,
            target,
            _ZEROS[: _MOST_NAME - len(target)],
            _REST,
        )
    )


def _too_long(path: bytes, target: bytes, size: int) -> bytes:
    """Return the pax records of the fields that do not fit in a ustar header."""
    if len(path) <= _MOST_NAME and len(target) <= _MOST_NAME and size <= _MOST_SIZE:
        return b""
    records: list[tuple[bytes, bytes]] = []
    if len(path) > _MOST_NAME:
        records.append((b"path", path))
    if len(target) > _MOST_NAME:
        records.append((b"linkpath", target))
    if any(not _is_utf8(value) for _, value in records):
        # Pax values are UTF-8 unless this, which has to come first, says that they are just bytes.
        records.insert(0, (b"hdrcharset", b"BINARY"))
    if size > _MOST_SIZE:
        records.append((b"size", b"%d" % size))
    return b"".join(_pax_record(key, value) for key, value in records)


def _pax_record(key: bytes, value: bytes) -> bytes:
    """Return `<length> <key>=<value>`, where the length counts its own digits."""
    rest = b" %s=%s\n" % (key, value)
    length = len(rest)
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d%s" % (length, rest)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
