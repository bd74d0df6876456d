#!/usr/bin/env python3
"""Judge the tool as a user starts it: months, dates and tables."""

import json
import pathlib
import subprocess
import sys

ROWS = """date,category,amount
2026-01-31,Food,8.00
2026-02-01,Books,12.50
2026-01-01,Food,1.50
2026-03-01,Rent,-100
"""
WANTED = {
    "month": (("--by", "month"), '{"2026-01": "9.50", "2026-02": "12.50", "2026-03": "-100.00"}\n'),
    "category": (("--by", "category"), '{"Books": "12.50", "Food": "9.50", "Rent": "-100.00"}\n'),
    "from": (("--from", "2026-02-01"), '{"Books": "12.50", "Rent": "-100.00"}\n'),
    "to": (("--to", "2026-01-31"), '{"Food": "9.50"}\n'),
    "both": (("--from", "2026-01-02", "--to", "2026-01-31", "--by", "month"), '{"2026-01": "8.00"}\n'),
    "table": (("--format", "table"), "Books    12.50\nFood      9.50\nRent   -100.00\ntotal   -78.00\n"),
    "table.none": (("--format", "table", "--from", "2027-01-01"), "total  0.00\n"),
}


def run(*arguments: str, given: str = ROWS) -> tuple[int, str, str]:
    """Run the tool on rows and return how it ended and what it printed."""
    command = [sys.executable, "-B", "expenses.py", *arguments, "-"]
    if not pathlib.Path("expenses.py").is_file():
        # Python itself would end as the tool is to end for wrong arguments.
        return -1, "", "there is no expenses.py"
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout, done.stderr


def printed(arguments: tuple[str, ...], wanted: str) -> str:
    """Return what is wrong with what is printed; empty if nothing is."""
    found = run(*arguments)
    return "" if found == (0, wanted, "") else f"{' '.join(arguments)} gives {found}, not {wanted!r}"


found = {name: printed(*one) for name, one in WANTED.items()}
date = run("--from", "2026-02-30")
found["date"] = "" if date[:2] == (2, "") and date[2] else f"a date that does not exist gives {date}"
left_out = run("--to", "2025-12-31", given=f"{ROWS}2026-04-31,Food,1\n")
found["bad-line"] = (
    "" if left_out[:2] == (1, "") and "6" in left_out[2] else f"a bad line that is left out gives {left_out}"
)
assertions = [
    {"id": f"months.{name}", "operation": "program", "verdict": "failed" if why else "passed", "reason": why}
    for name, why in found.items()
]
pathlib.Path("/out/checks.json").write_text(json.dumps({"format": 1, "assertions": assertions}), "utf-8")
failed = [name for name, why in found.items() if why]
sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
