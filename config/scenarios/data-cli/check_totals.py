#!/usr/bin/env python3
"""Judge the tool as a user starts it: totals, exact and in order, and what is refused."""

import json
import pathlib
import subprocess
import sys
import tempfile

HEAD = "date,category,amount\n"
GOOD = {
    "sorted": (
        "2026-01-02,Food,1.5\n2026-01-03, Books ,12.50\n2026-02-01,Food,-4.50\n",
        {"Books": "12.50", "Food": "-3.00"},
    ),
    "exact": ("2026-01-02,Food,0.10\n" * 100, {"Food": "10.00"}),
    "none": ("", {}),
    "quoted": ('2026-01-02,"Food, Drink",3\n', {"Food, Drink": "3.00"}),
    "unicode": ("2026-01-02,B\u00fccher,3\n", {"B\u00fccher": "3.00"}),
}
BAD = {
    "date": "2026-02-30,Food,1\n",
    "category": "2026-01-01,  ,1\n",
    "amount": "2026-01-01,Food,a lot\n",
    "decimals": "2026-01-01,Food,1.005\n",
    "few": "2026-01-01,Food\n",
    "many": "2026-01-01,Food,1,2\n",
}


def run(*arguments: str, given: str = "") -> tuple[int, str, str]:
    """Run the tool and return how it ended and what it printed."""
    command = [sys.executable, "-B", "expenses.py", *arguments]
    if not pathlib.Path("expenses.py").is_file():
        # Python itself would end as the tool is to end for wrong arguments.
        return -1, "", "there is no expenses.py"
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout, done.stderr


def totals(rows: str, wanted: dict[str, str]) -> str:
    """Return what is wrong with the totals of some rows; empty if nothing is."""
    code, out, said = run("-", given=HEAD + rows)
    try:
        found = list(json.loads(out).items())
    except (ValueError, AttributeError):
        found = []
    good = (code, found) == (0, list(wanted.items())) and len(out.splitlines()) == 1
    return "" if good else f"exit code {code}, {out[-200:]!r}, not {wanted}; {said[-200:]!r}"


def refused(text: str, where: str) -> str:
    """Return what is wrong with the refusal of a file's text; empty if nothing is."""
    code, out, said = run("-", given=text)
    good = (code, out) == (1, "") and len(said.splitlines()) == 1 and where in said
    return "" if good else f"exit code {code}, {out[-200:]!r} and {said[-200:]!r}, not 1 and a line with {where!r}"


def others() -> dict[str, str]:
    """Return what is wrong with files and arguments."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "a.csv"
        file.write_text(f"{HEAD}2026-01-02,Food,1\n", "utf-8")
        read, missing = run(str(file)), run(f"{folder}/none.csv")
    usage = run()
    return {
        "file": "" if read == (0, '{"Food": "1.00"}\n', "") else f"a file gives {read}",
        "missing": "" if missing[:2] == (1, "") and len(missing[2].splitlines()) == 1 else f"no file gives {missing}",
        "usage": "" if usage[:2] == (2, "") and usage[2] else f"no argument gives {usage}",
    }


found = {f"sums.{name}": totals(*one) for name, one in GOOD.items()}
found |= {f"refuses.{name}": refused(f"{HEAD}2026-01-01,Food,1\n{row}", "3") for name, row in BAD.items()}
found |= {"refuses.header": refused("day,category,amount\n", "1")} | others()
assertions = [
    {"id": f"totals.{name}", "operation": "program", "verdict": "failed" if why else "passed", "reason": why}
    for name, why in found.items()
]
pathlib.Path("/out/checks.json").write_text(json.dumps({"format": 1, "assertions": assertions}), "utf-8")
failed = [name for name, why in found.items() if why]
sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
