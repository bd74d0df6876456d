"""A framework that obeys its prompt, one order a line: what a step of a graph does, on demand."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys


def write(path: str, *words: str) -> None:
    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(" ".join(words) + "\n")


def remove(path: str) -> None:
    pathlib.Path(path).unlink()


def need(*paths: str) -> None:
    """Fail unless all these are there."""
    missing = [path for path in paths if not pathlib.Path(path).exists()]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}")


def lack(*paths: str) -> None:
    """Fail if any of these is there."""
    found = [path for path in paths if pathlib.Path(path).exists()]
    if found:
        sys.exit(f"there already: {', '.join(found)}")


def attempt(number: str) -> None:
    """Fail before the attempt of that number."""
    if json.loads(pathlib.Path("/in/step.json").read_text())["attempt"] < int(number):
        sys.exit("not yet")


def fail(code: str) -> None:
    sys.exit(int(code))


def ask(path: str, *words: str) -> None:
    """Ask a question and write the answer down."""
    write(path, subprocess.run(["runner-ask", *words], capture_output=True, text=True, check=True).stdout.strip())


ORDERS = {order.__name__: order for order in (write, remove, need, lack, attempt, fail, ask)}

for line in pathlib.Path("/in/prompt.txt").read_text().splitlines():
    name, *arguments = line.split()
    ORDERS[name](*arguments)
