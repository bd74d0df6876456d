"""What must hold when the last `runner go` has ended, read from the disk, the kernel and the engine, not from the runner."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard
from chaos.engine_eye import DECOY, Unhappy, Witness
from chaos.places import Place, processes
from support.upstream.starting import stated

EXPECTED: Mapping[str, tuple[str, Mapping[str, int]]] = {
    "plain": ("passed", {"notes.txt": 2}),
    "talk": ("passed", {"notes.txt": 2}),
    "graph": ("passed", {"notes.txt": 2, "left.txt": 1, "right.txt": 1}),
    "refuse": ("failed", {"notes.txt": 1}),
    "tries": ("passed", {"notes.txt": 2}),
}
"""Outcome of each scenario, and how many lines each file of its workspace ends with."""
FINAL = frozenset({"passed", "failed", "timed_out", "exceeded"})
_LINE = "one more line\n"
_HERE = re.compile(r"here is ([0-9a-f]{16})\b")
_PATIENCE = 10.0
"""Seconds that processes and the engine have to be done with what the last runner told them."""


@dataclass(kw_only=True)
class Facts:
    """What the checks are made against, and what did not hold."""

    place: Place
    witness: Witness
    planned: int
    harmed: int = 0
    """Containers that were killed from outside: so many runs may have ended otherwise than expected."""
    decoys: Mapping[str, str] = field(default_factory=dict)
    """Id of each container that is nobody's business -> the state it is to be in."""
    answered_before: int = 0
    """Calls that the upstream had answered before the round."""
    wrong: list[str] = field(default_factory=list)

    def expect(self, seen: object, wanted: object, what: str) -> None:
        """Note what is not as it should be."""
        if seen != wanted:
            self.wrong.append(f"{what}: {seen!r} instead of {wanted!r}")


def violations(facts: Facts) -> list[str]:
    """Return everything that should hold and does not; empty if all is well."""
    output = facts.place.output
    rows = _rows(facts)
    facts.expect(len(rows), facts.planned, "runs in the ledger")
    cells = Counter((row["framework"], row["scenario"], row["repetition"]) for row in rows)
    facts.expect([cell for cell, count in cells.items() if count > 1], [], "recorded more than once")
    facts.expect(
        sorted(str(path.parent.relative_to(output)) for path in output.glob("[!.]*/*/metadata.json")),
        sorted(row["directory"] for row in rows),
        "run directories",
    )
    surprises = [sentence for row in rows for sentence in _check_run(facts, output / row["directory"], row)]
    if len(surprises) > facts.harmed:
        facts.wrong += surprises
    _check_evidence(facts)
    _check_calls(facts)
    return machine_violations(facts)


def machine_violations(facts: Facts) -> list[str]:
    """Return what is left where nothing should be: on the disk, in the engine and in the kernel, besides what was wrong."""
    _check_disk(facts)
    _check_engine(facts)
    _check_machine(facts)
    return facts.wrong


def _rows(facts: Facts) -> list[dict[str, Any]]:
    ledger = sqlite3.connect(facts.place.output / ".ledger.sqlite")
    try:
        ledger.row_factory = sqlite3.Row
        facts.expect(ledger.execute("PRAGMA integrity_check").fetchone()[0], "ok", "the ledger")
        return [dict(row) for row in ledger.execute("SELECT * FROM runs")]
    finally:
        ledger.close()


def _check_run(facts: Facts, root: Path, row: Mapping[str, Any]) -> Iterator[str]:
    """Check one run; yield how it ended otherwise than its scenario lets one expect, which a killed container excuses."""
    name = row["directory"]
    try:
        record = json.loads((root / "metadata.json").read_text("utf-8"))
        json.loads((root / "metrics.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        facts.wrong.append(f"{name}: {error}")
        return
    facts.expect(row["state"], "done", f"{name} in the ledger")
    facts.expect((row["outcome"], row["reason"]), (record["outcome"], record["reason"]), f"{name} in ledger and record")
    facts.expect(record["outcome"] in FINAL, True, f"{name} is final ({record['outcome']}: {record['reason']})")
    facts.expect((root / "README.md").is_file(), True, f"{name} has a README")
    _check_archive(facts, root, name)
    outcome, files = EXPECTED[row["scenario"]]
    if record["outcome"] != outcome:
        yield f"{name} {record['outcome']}, not {outcome}: {record['reason']}"
        return
    for file, count in files.items():
        path = root / "generated_artifacts" / file
        facts.expect(path.read_text() if path.is_file() else None, _LINE * count, f"{name}/{file}")
    planned = [step["id"] for step in record["run"]["steps"]]
    facts.expect(sorted(step["id"] for step in record["steps"]), sorted(planned), f"{name}: steps recorded")


def _check_archive(facts: Facts, root: Path, name: str) -> None:
    """Check what `sha256sum -c` checks, and the digest of what is inside."""
    try:
        wanted, file = (root / "run.tar.zst.sha256").read_text().split()
        facts.expect(hashlib.sha256((root / file.lstrip("*")).read_bytes()).hexdigest(), wanted, f"{name}/{file}")
        inside = hashlib.sha256()
        with zstandard.open(root / "run.tar.zst", "rb") as tar:
            while piece := tar.read(1 << 20):
                inside.update(piece)
        facts.expect(inside.hexdigest(), (root / "run.tar.sha256").read_text().split()[0], f"{name}: the tar inside")
    except (OSError, ValueError, zstandard.ZstdError) as error:
        facts.wrong.append(f"{name}: its archive: {error!r}")


def _check_evidence(facts: Facts) -> None:
    """Expect what every container was heard to say in some log of some attempt."""
    kept = {
        number
        for path in facts.place.output.rglob("stdout.log")
        for number in _HERE.findall(path.read_text("utf-8", "replace"))
    }
    lost = {number: name for number, name in facts.witness.told.items() if number not in kept}
    facts.expect(lost, {}, "attempts whose output is lost")


def _check_calls(facts: Facts) -> None:
    """Compare the calls on record with what the upstream says it answered, each known by its tokens."""
    lines = []
    for path in sorted(facts.place.output.rglob("calls.jsonl")):
        found = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        lines += found
        twice = Counter((one["step"], one["attempt"], one["n"]) for one in found)
        facts.expect([key for key, count in twice.items() if count > 1], [], f"calls recorded twice in {path}")
    answered = [one["tokens_in"] for one in stated(facts.place.world.upstream)[facts.answered_before :]]
    if not answered:
        return
    recorded = Counter(one["tokens_in"] for one in lines if one["tokens_in"] is not None)
    unknown = sum(one["tokens_in"] is None for one in lines)
    facts.expect([tokens for tokens, count in recorded.items() if count > 1], [], "answers recorded twice")
    facts.expect(sorted(set(recorded) - set(answered)), [], "answers recorded that were never given")
    missing = set(answered) - set(recorded)
    if len(missing) > unknown:
        facts.wrong.append(f"{len(missing)} answers are not recorded, and only {unknown} calls have an unknown end")


def _check_disk(facts: Facts) -> None:
    output, place = facts.place.output, facts.place
    inside = ("generated_artifacts", "state")
    temporary = [str(path.relative_to(output)) for path in output.rglob(".tmp-*") if not set(inside) & set(path.parts)]
    facts.expect(temporary, [], "temporary files")
    facts.expect([str(path) for path in output.glob("[!.]*/*/views")], [], "views")
    facts.expect(sorted(path.name for path in place.runtime.iterdir()), [], "in the runtime folder")
    facts.expect(sorted(path.name for path in place.temporary.iterdir()), [], "in the folder of temporary files")


def _check_engine(facts: Facts) -> None:
    eye = facts.place.world.eye
    facts.expect([one["Names"] for one in eye.ours()], [], "containers")
    facts.expect([one["Name"] for one in eye.volumes()], [], "volumes")
    facts.expect(eye.networks() - {"none", "host", "bridge"}, set(), "networks")
    end = time.monotonic() + _PATIENCE
    while (seen := _decoys(facts)) != facts.decoys and time.monotonic() < end:
        # An engine that has just come back starts them one after the other.
        time.sleep(0.2)
        with contextlib.suppress(OSError, Unhappy):
            eye.revive_decoys()
    facts.expect(seen, facts.decoys, "decoys")


def _decoys(facts: Facts) -> dict[str, str]:
    found = facts.place.world.eye.containers()
    return {one["Id"]: one["State"] for one in found if DECOY in one["Labels"]}


def _check_machine(facts: Facts) -> None:
    """Look for processes, mounts and control groups; what is just ending is waited for."""
    end = time.monotonic() + _PATIENCE
    while (found := _left(facts)) and time.monotonic() < end:
        time.sleep(0.2)
    facts.wrong += found


def _left(facts: Facts) -> list[str]:
    place = facts.place
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    below = [mount for mount in mounts if mount.startswith(f"{place.root}/") and mount != str(place.output)]
    volumes = [mount for mount in mounts if mount.startswith(f"{place.world.engine.folder}/data/volumes/")]
    groups = [
        path.name
        for pattern in ("codegen-runner.*", "*/codegen-runner.*")
        for path in Path("/sys/fs/cgroup").glob(pattern)
        if any(name in path.name for name in facts.witness.names)
    ]
    found = {"processes": list(processes(place.root)), "mounts": below + volumes, "control groups": sorted(set(groups))}
    return [f"{what} left: {names!r}" for what, names in found.items() if names]
