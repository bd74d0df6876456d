#!/usr/bin/env python3
"""Judge the library from outside: the second report."""

import json
import pathlib
import subprocess
import sys

REFUSED = {
    "word": ("1-4,x", "x is no interval"),
    "three": ("1-2-3", "1-2-3 is no interval"),
    "empty": ("4-4", "4-4 is empty"),
}


def run(text: str) -> tuple[int, str, str]:
    """Run the program and return how it ended and what it printed."""
    command = [sys.executable, "-B", "-m", "intervals", text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def refused(text: str, words: str) -> str:
    """Return what is wrong with a refusal; empty if nothing is."""
    code, out, said = run(text)
    good = (code, out) == (2, "") and words in said and len(said.splitlines()) == 1
    return "" if good else f"{text} ends with {code}, prints {out!r} and {said[-200:]!r}"


found = {name: refused(*one) for name, one in REFUSED.items()}
blanks = run(" 1 - 4 , 6-7")
found["blanks"] = "" if blanks == (0, "1-4,6-7", "") else f"blanks give {blanks}"
assertions = [
    {"id": f"refusals.{name}", "operation": "program", "verdict": "failed" if why else "passed", "reason": why}
    for name, why in found.items()
]
pathlib.Path("/out/checks.json").write_text(json.dumps({"format": 1, "assertions": assertions}), "utf-8")
failed = [name for name, why in found.items() if why]
sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
