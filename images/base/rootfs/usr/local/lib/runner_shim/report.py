"""Write the report of a step, as JSON."""

# ruff: noqa: PTH101, PTH104, PTH108, PTH112, PTH114, PTH123
# No pathlib: every step would pay for its import.

from __future__ import annotations

import os

VERSION = 1
NAME = ".shim.json"
ASCII_PRINTABLE = range(32, 127)


def disk_io() -> dict[str, object]:
    """Return the bytes that we and all reaped children moved to and from storage: the kernel adds those up."""
    try:
        with open("/proc/self/io", encoding="ascii") as file:
            counts = dict(line.split(": ") for line in file.read().splitlines())
        return {"io_read_bytes": int(counts["read_bytes"]), "io_write_bytes": int(counts["write_bytes"])}
    except (OSError, KeyError, ValueError):
        return {"io_read_bytes": None, "io_write_bytes": None}


NOTHING_RAN: dict[str, object] = {
    **dict.fromkeys(("signal", "cpu_seconds", "max_rss_bytes", "io_read_bytes", "io_write_bytes")),
    **dict.fromkeys(("timed_out", "stopped"), False),
    **dict.fromkeys(
        ("seconds", "stdout_bytes", "stderr_bytes", "dropped_stdout", "dropped_stderr", "killed_processes"), 0
    ),
}


def write_report(folder: str, report: dict[str, object]) -> None:
    """Put the report into /out at once or not at all; a folder that cannot be written must not change the exit.

    Whatever the step has left in its place goes first, so that none of its making can be taken for ours.
    """
    path, part = f"{folder}/{NAME}", f"{folder}/{NAME}.{os.urandom(8).hex()}"
    try:
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            os.chmod(folder, 0o700)
        if os.path.isdir(path) and not os.path.islink(path):
            os.rename(path, f"{part}.step")
        elif os.path.lexists(path):
            os.unlink(path)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with open(fd, "w", encoding="ascii") as file:
            file.write(encode({"version": VERSION, **report}))
        os.rename(part, path)
    except OSError:
        return


def encode(report: dict[str, object]) -> str:
    """Write a flat mapping as JSON; importing `json` would cost every step 6 ms."""
    words = {None: "null", True: "true", False: "false"}
    fields = (
        f'"{key}": {words[value] if value is None or isinstance(value, bool) else quote(value)}'
        for key, value in report.items()
    )
    return "{" + ", ".join(fields) + "}\n"


def quote(value: object) -> str:
    """Write a number as it is and a text as a JSON string in ASCII."""
    if not isinstance(value, str):
        return str(value)
    units = value.encode("utf-16-be", "replace")
    pairs = (units[i] << 8 | units[i + 1] for i in range(0, len(units), 2))
    return '"' + "".join(chr(u) if u in ASCII_PRINTABLE and u not in b'"\\' else f"\\u{u:04x}" for u in pairs) + '"'
