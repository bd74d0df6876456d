#!/usr/bin/env python3
"""Judge the program as a user starts it: each sentence of the prompt is an assertion."""

import json
import pathlib
import subprocess
import sys

GREETINGS = {"world": ((), "Hello, world!"), "name": (("Ada",), "Hello, Ada!"), "blanks": ((" Ada ",), "Hello, Ada!")}
REFUSED = {"empty": ("",), "blank": ("  ",), "two": ("Ada", "Grace")}


def run(*arguments: str) -> tuple[int, str, str]:
    """Run the program and return how it ended and what it printed."""
    command = [sys.executable, "-B", "hello.py", *arguments]
    if not pathlib.Path("hello.py").is_file():
        # Python itself would end as the program is to end for a bad name.
        return -1, "", "there is no hello.py"
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stdout, done.stderr


def greets(arguments: tuple[str, ...], words: str) -> str:
    """Return what is wrong with a greeting; empty if nothing is."""
    found = run(*arguments)
    return "" if found == (0, f"{words}\n", "") else f"{arguments} gives {found}, not {words}"


def refuses(arguments: tuple[str, ...]) -> str:
    """Return what is wrong with a refusal; empty if nothing is."""
    code, out, said = run(*arguments)
    good = (code, out) == (2, "") and len(said.splitlines()) == 1
    return "" if good else f"{arguments} ends with {code}, prints {out!r} and {said[-200:]!r}"


found = {f"says.{name}": greets(*one) for name, one in GREETINGS.items()}
found |= {f"refuses.{name}": refuses(one) for name, one in REFUSED.items()}
assertions = [
    {"id": f"greets.{name}", "operation": "program", "verdict": "failed" if why else "passed", "reason": why}
    for name, why in found.items()
]
pathlib.Path("/out/checks.json").write_text(json.dumps({"format": 1, "assertions": assertions}), "utf-8")
failed = [name for name, why in found.items() if why]
sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
