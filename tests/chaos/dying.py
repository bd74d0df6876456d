"""The runner, killed at one point of its work: `dying.py list FILE -- ARGUMENTS` or `dying.py at POINT -- ARGUMENTS`.

A point lies before a change of the disk (a file opened for writing, renamed, linked or removed, a folder made or
removed), before and after a commit of the ledger, before a request to the engine or the gateway and after its answer, and
before a program is started. `gateway-list` and `gateway-at` do the same with the gateway's. A point is known by what is done and for which time, so that threads which take turns in another
order do not shift it. `list` goes on to the end and writes down all the points there are.
"""

from __future__ import annotations

import http.client
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")
_SQL_CHANGES = {"INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "ALTER", "DROP"}
_CHANCE = re.compile(r"[0-9a-f]{10,64}|(?<=cgr-)\w{8}|(?<=[-.])[0-9a-f]{8}\b|\b\d{4,}\b")
"""What is another in each run of the same thing: ids, digests, random names, process ids."""


@dataclass
class Points:
    """Counts the points as they are reached, and dies at the one that was asked for."""

    inside: str
    """Folder whose changes count."""
    fatal: str
    mark: Path
    """Made when it dies."""
    reached: list[str] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reach(self, what: str) -> None:
        """Note a point; this is the last thing done if it is the fatal one."""
        plain = _CHANCE.sub("*", what.replace(self.inside, ""))
        with self._lock:
            self._counts[plain] += 1
            point = f"{plain} #{self._counts[plain]}"
            self.reached.append(point)
        if point == self.fatal:
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Hear of what the interpreter is about to do; see `sys.addaudithook`."""
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | bytes) and isinstance(flags, int) and flags & _WRITING:
                self._change("open", path)
        elif event in _CHANGES:
            self._change(event, arguments[1] if event in {"os.rename", "os.link", "os.symlink"} else arguments[0])
        elif event == "subprocess.Popen":
            self.reach(f"start {arguments[1][-1]}")

    def _change(self, event: str, path: str | bytes | int) -> None:
        name = str(Path(f"/proc/self/fd/{path}").readlink()) if isinstance(path, int) else os.fsdecode(path)
        # What is named without its folder is opened below one that is held open: only the runner's own trees are.
        if not name.startswith("/") or name.startswith(self.inside):
            self.reach(f"{event} {name}")


def watch(points: Points) -> None:
    """Have every point from here on be counted."""
    sys.addaudithook(points.audit)
    _wrap(
        http.client.HTTPConnection,
        "putrequest",
        before=lambda _, method, url, *__: points.reach(f"{method} {_path(url)}"),
    )
    _wrap(http.client.HTTPConnection, "getresponse", after=lambda line: points.reach(f"answered {_asked(line)}"))
    sqlite3.connect = _connecting(points)  # type: ignore[assignment]  # the same function, one factory more


def _connecting(points: Points) -> Callable[..., sqlite3.Connection]:
    plain = sqlite3.connect

    class Ledger(sqlite3.Connection):
        def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
            word = sql.split(None, 1)[0].upper()
            # Outside of a transaction, each change is committed by itself.
            commits = word == "COMMIT" or (word in _SQL_CHANGES and not self.in_transaction)
            if commits:
                points.reach(f"ledger {word}")
            cursor = super().execute(sql, *arguments)
            if commits:
                points.reach(f"ledger has done {word}")
            return cursor

    return lambda *arguments, **options: plain(*arguments, **{"factory": Ledger, **options})


def _wrap(
    owner: type,
    name: str,
    *,
    before: Callable[..., None] | None = None,
    after: Callable[[Any], None] | None = None,
) -> None:
    plain = getattr(owner, name)

    def wrapped(self: Any, *arguments: Any, **options: Any) -> Any:
        if before is not None:
            before(self, *arguments)
            self.chaos_asked = f"{arguments[0]} {_path(arguments[1])}"
        result = plain(self, *arguments, **options)
        if after is not None:
            after(self)
        return result

    setattr(owner, name, wrapped)


def _path(url: str) -> str:
    return url.partition("?")[0]


def _asked(line: Any) -> str:
    return str(getattr(line, "chaos_asked", "?"))


def replace_gateway(how: str, which: str, inside: str) -> None:
    """Have the gateway that the runner starts be the one that counts its points.

    Args:
        how: `list` or `at`.
        which: as for `main`.
        inside: folder whose changes count.
    """
    plain = subprocess.Popen.__init__

    def replaced(self: Any, command: Any, *arguments: Any, **options: Any) -> None:
        if command[-1] == "runner.gateway":
            command = [sys.executable, "-P", __file__, f"serve-{how}", which, "--", inside]
        plain(self, command, *arguments, **options)

    subprocess.Popen.__init__ = replaced  # type: ignore[assignment]  # as above


def main(how: str, which: str, *arguments: str) -> None:
    """Carry out a command of the runner's, or be its gateway.

    Args:
        how: `list` or `at`; with `gateway-` before it, the gateway's points are meant; with `serve-`, this is the gateway.
        which: file for the points, or the fatal point.
        arguments: `--`, folder whose changes count, then those of the runner.
    """
    _, inside, *words = arguments
    who, _, what = how.rpartition("-")
    # A gateway that is started again must not die again.
    mark = Path(inside, "died")
    alive = what == "list" or (who == "serve" and mark.exists())
    points = Points(inside, "" if alive else which, mark)
    if who == "gateway":
        replace_gateway(what, which, inside)
    else:
        watch(points)
    if who == "serve":
        from runner.gateway.process import main as program
    else:
        from runner.cli.main import entry as program

        sys.argv[1:] = words
    try:
        program()
    finally:
        if what == "list" and who != "gateway":
            Path(which).write_text("\n".join(points.reached) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
