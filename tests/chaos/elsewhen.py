"""The runner as it sees a machine whose time of day is set, or that was started again: `elsewhen.py TIMES -- ARGUMENTS`.

TIMES is a file of two numbers, 8 bytes each, that may change at any moment: by how many seconds the time of day is off,
and how often the machine was started again. Every reading of the time of day by Python code, of the runner and of
the gateway that it starts, is off by so much; steady clocks are not, as when somebody sets a machine's clock. What
the kernel and the engine note themselves, like times of files and of containers, stays as it is.
"""

from __future__ import annotations

import datetime as dt
import mmap
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

TIMES = struct.Struct("dq")


def write_times(path: Path, offset: float, boots: int) -> None:
    """Set the time of day and the number of boots of whoever looks at a file, which may be looked at already."""
    data = TIMES.pack(offset, boots)
    if path.exists():
        with path.open("r+b") as file:
            file.write(data)
    else:
        path.write_bytes(data)


def set_clocks(path: Path) -> None:
    """Have every later reading of the time of day be off, and the boot be another one."""
    with path.open("rb") as file:
        times = mmap.mmap(file.fileno(), TIMES.size, prot=mmap.PROT_READ)
    seconds, nanoseconds, plain = time.time, time.time_ns, dt.datetime

    def offset() -> float:
        return float(TIMES.unpack_from(times)[0])

    class Moment(plain):  # type: ignore[misc,valid-type]  # the same class, off by so much
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Self:
            return cls.fromtimestamp(seconds() + offset(), tz)  # type: ignore[no-any-return]  # its own class

    time.time = lambda: seconds() + offset()
    time.time_ns = lambda: nanoseconds() + int(offset() * 1e9)
    dt.datetime = Moment  # type: ignore[misc]  # as above

    from runner.engine import owner

    boot = owner._read_boot

    def read_boot(proc: Path) -> str:
        boots = TIMES.unpack_from(times)[1]
        return f"{boot(proc)}-{boots}" if boots else boot(proc)

    owner._read_boot = read_boot


def replace_gateway(path: Path) -> None:
    """Have the gateway that the runner starts be off as well."""
    plain = subprocess.Popen.__init__

    def replaced(self: Any, command: Any, *arguments: Any, **options: Any) -> None:
        if command[-1] == "runner.gateway":
            command = [sys.executable, "-P", __file__, str(path), "runner.gateway"]
        plain(self, command, *arguments, **options)

    subprocess.Popen.__init__ = replaced  # type: ignore[assignment]  # the same constructor, another command


def main(times: str, *arguments: str) -> None:
    """Be the runner with its arguments after `--`, or the gateway."""
    path = Path(times)
    set_clocks(path)
    if arguments == ("runner.gateway",):
        from runner.gateway.process import main as program
    else:
        replace_gateway(path)
        from runner.cli.main import entry as program

        sys.argv[1:] = arguments[1:]
    program()


if __name__ == "__main__":
    main(*sys.argv[1:])
