#!/usr/bin/env python3
"""Judge the library from outside: the first report, what worked before, and the tests that were there."""

import json
import pathlib
import subprocess
import sys

UNIONS = {
    "contained": ("1-9,2-3", "1-9"),
    "contained.behind": ("2-3,1-9", "1-9"),
    "contained.chain": ("1-9,2-3,8-12,4-5", "1-12"),
    "contained.same-start": ("1-9,1-4", "1-9"),
    "before.apart": ("5-7,1-3", "1-3,5-7"),
    "before.touching": ("1-3,3-4", "1-4"),
    "before.overlapping": ("1-4,2-6", "1-6"),
}
KEPT = (
    "nothing_is_the_union_of_nothing",
    "intervals_that_are_apart_stay_apart_in_order",
    "intervals_that_overlap_or_touch_become_one",
    "text_becomes_intervals",
    "an_empty_interval_is_refused",
)
"""Tests that were there."""


def union(text: str, wanted: str) -> str:
    """Return what is wrong with a union; empty if nothing is."""
    command = [sys.executable, "-B", "-m", "intervals", text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    found = (done.returncode, done.stdout.strip(), done.stderr.strip())
    return "" if found == (0, wanted, "") else f"{text} gives {found}, not {wanted}"


def tests() -> dict[str, str]:
    """Return what is wrong with the tests."""
    text = "".join(path.read_text("utf-8", "replace") for path in sorted(pathlib.Path("tests").rglob("*.py")))
    gone = [name for name in KEPT if f"def test_{name}" not in text]
    return {
        "tests.kept": f"gone: {', '.join(gone)}" if gone else "",
        "tests.added": "" if text.count("def test_") > len(KEPT) - len(gone) else "no test was added",
    }


found = {name: union(*one) for name, one in UNIONS.items()} | tests()
assertions = [
    {"id": f"unions.{name}", "operation": "program", "verdict": "failed" if why else "passed", "reason": why}
    for name, why in found.items()
]
pathlib.Path("/out/checks.json").write_text(json.dumps({"format": 1, "assertions": assertions}), "utf-8")
failed = [name for name, why in found.items() if why]
sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
