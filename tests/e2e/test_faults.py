"""Each way a step can go wrong ends in a clear reason and a finished record, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.archives import take_members
from support.project import Project, cgroups_of, copy_project, left_in_engine

pytestmark = pytest.mark.e2e

EXPECTED = {
    "write": ("passed", ""),
    "nothing": ("failed", "step one: exited 0 but changed nothing in the workspace"),
    "fail": ("failed", "step one: exit code 3"),
    "hang": ("timed_out", "step one: not finished after 6 s (limits.step_timeout)"),
    "stubborn": ("timed_out", "step one: not finished after 6 s (limits.step_timeout)"),
    "daemon": ("passed", ""),
    "eat": ("exceeded", "step one: out of memory: limits.memory is 268435456 bytes"),
    "suicide": ("failed", "step one: killed by signal 9 (SIGKILL)"),
    "burn": ("passed", ""),
    "noise": ("passed", ""),
    "links": ("passed", ""),
    "lie": ("passed", ""),
    "escape": ("passed", ""),
    "chain": ("failed", "step third: exit code 3"),
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str, int]:
    """One `runner go` over all behaviours, its terminal text and exit code."""
    project = copy_project("probe", tmp_path_factory.mktemp("faults") / "probe")
    result = project.run("go", "--jobs", "4")
    return project, result.stdout + result.stderr, result.returncode


def _one(project: Project, scenario: str) -> Path:
    (found,) = project.runs.glob(f"probe/{scenario}-r1-*")
    return found


def _metrics(project: Project, scenario: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((_one(project, scenario) / "metrics.json").read_text())
    return content


def test_every_behaviour_has_its_outcome_and_reason(done: tuple[Project, str, int]) -> None:
    """Fourteen runs, fourteen finished records, each with the outcome that its behaviour deserves."""
    project, text, _ = done
    records = project.records()
    found = {name: (record["outcome"], record["reason"]) for name, record in records.items()}
    assert found == EXPECTED, text
    assert all(record["finished_at"] for record in records.values())


def test_the_exit_code_says_that_some_failed(done: tuple[Project, str, int]) -> None:
    """Failures of the framework are exit code 1; nothing broke, so it is not 7."""
    assert done[2] == 1, done[1]


def test_nothing_of_these_runs_is_left_in_the_engine(done: tuple[Project, str, int]) -> None:
    """No container, no volume and no control group stays behind, whatever the steps did."""
    assert left_in_engine(done[0]) == []
    assert cgroups_of(done[0]) == set()


def test_a_daemonised_child_does_not_outlive_its_step(done: tuple[Project, str, int]) -> None:
    """What a step leaves running is killed with it, and counted."""
    shim = json.loads((_one(done[0], "daemon") / "steps/step_001/out/.shim.json").read_text())
    assert shim["killed_processes"] >= 1


def test_cpu_and_peak_memory_are_exact(done: tuple[Project, str, int]) -> None:
    """A step that burns half a second and touches 150 MiB shows at least that, from its cgroup."""
    metrics = _metrics(done[0], "burn")
    assert metrics["cpu_seconds"] >= 0.5
    assert metrics["peak_memory_bytes"] >= 150 * 1024**2
    assert metrics["about"]["cpu_seconds"]["source"] == "cgroup"
    assert metrics["about"]["peak_memory_bytes"] | {"reason": ""} == {
        "unit": "bytes",
        "source": "cgroup",
        "exact": True,
        "status": "measured",
        "reason": "",
    }


def test_a_killed_step_is_measured_too(done: tuple[Project, str, int]) -> None:
    """Out of memory does not lose the peak: it is at the limit."""
    peak = _metrics(done[0], "eat")["peak_memory_bytes"]
    assert 0.9 <= peak / (256 * 1024**2) <= 1.01


def test_metrics_have_every_name_for_run_and_step(done: tuple[Project, str, int]) -> None:
    """A flat file with the same names for the run and each step; without a model calls are 0 and cost is not known."""
    from runner.evidence.records import METRIC_NAMES

    metrics = _metrics(done[0], "chain")
    assert set(METRIC_NAMES) <= set(metrics)
    assert [step["step"] for step in metrics["per_step"]] == ["first", "second", "third", "fourth"]
    assert all(set(METRIC_NAMES) <= set(step) for step in metrics["per_step"])
    assert (metrics["steps_total"], metrics["steps_passed"], metrics["attempts"]) == (4, 2, 3)
    assert metrics["per_step"][3]["wall_seconds"] is None


def test_state_is_carried_and_later_steps_are_skipped(done: tuple[Project, str, int]) -> None:
    """Each step continues on the workspace of the one before; after a failure the rest is skipped with the reason."""
    root = _one(done[0], "chain")
    assert (root / "generated_artifacts/notes.txt").read_text() == "one more line\n" * 3
    record = json.loads((root / "metadata.json").read_text())
    assert [step["outcome"] for step in record["steps"]] == ["passed", "passed", "failed", "skipped"]
    assert record["steps"][3]["reason"] == "step third did not pass"


def test_output_that_is_no_text_or_too_much_is_kept_in_bounds(done: tuple[Project, str, int]) -> None:
    """Raw bytes stay as they are; what is beyond the limit is counted, and the end is kept."""
    root = _one(done[0], "noise")
    log = (root / "steps/step_001/stdout.log").read_bytes()
    assert log.startswith(b"\xff\xfe broken \x1b[31m\n")
    assert b"last line\n" in log
    assert len(log) < 1.3 * 1024**2
    attempt = json.loads((root / "steps/step_001/metadata.json").read_text())["attempts"][0]
    assert attempt["stdout_bytes"] > 8 * 1024**2
    assert attempt["dropped_bytes"] > 6 * 1024**2


def test_collection_follows_no_link_and_opens_no_pipe(done: tuple[Project, str, int]) -> None:
    """Links out of the workspace stay links in the archive; the FIFO is left out and named."""
    import zstandard

    root = _one(done[0], "links")
    with zstandard.open(root / "run.tar.zst", "rb") as stream:
        found = take_members(stream.read())
    manifest = json.loads(found[-1][1])
    members = {member.name.rpartition("generated_artifacts/")[2]: member for member, _ in found}
    assert members["shadow"].issym()
    assert members["root"].issym()
    assert "two\nlines" in members
    assert "pipe" not in members
    assert any("pipe" in str(skipped) for skipped in manifest["skipped"])


def test_a_report_that_lies_is_not_believed(done: tuple[Project, str, int]) -> None:
    """Nonsense written by the step gives no number and no content of the host's files, and is noted."""
    record = done[0].records()["lie"]
    assert "root:" not in json.dumps(record)
    assert any("result.json" in note for note in record["notes"])
    assert _metrics(done[0], "lie")["about"]["cpu_seconds"]["source"] == "cgroup"


def test_the_contract_of_the_inside(done: tuple[Project, str, int]) -> None:
    """Read-only root, loopback only, no capabilities, no new privileges, the caller's uid, an allow-listed environment."""
    artifacts = _one(done[0], "escape") / "generated_artifacts"
    found = (artifacts / "found.txt").read_text()
    assert found == f"uid={os.getuid()} writable=[] interfaces=['lo'] docker=False\n"
    status = (artifacts / "status.txt").read_text().split()
    assert status == ["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1", "Seccomp:", "2"]
    allowed = (
        "HOME HOSTNAME LANG LC_ALL LC_CTYPE PATH PYTHONDONTWRITEBYTECODE PYTHONHASHSEED PYTHONUNBUFFERED TMPDIR TZ USER"
    )
    assert set((artifacts / "environment.txt").read_text().split()) <= set(allowed.split())
    assert (artifacts / "found.txt").stat().st_uid == os.getuid()


def test_the_archive_has_the_digest_beside_it(done: tuple[Project, str, int]) -> None:
    """`sha256sum -c` agrees with the archive."""
    root = _one(done[0], "write")
    digest, name = (root / "run.tar.zst.sha256").read_text().split()
    assert hashlib.sha256((root / name).read_bytes()).hexdigest() == digest


def test_going_again_does_nothing(done: tuple[Project, str, int]) -> None:
    """What is done is not repeated: not one record changes, and the exit code still tells."""
    project = done[0]
    before = {path: path.stat().st_mtime_ns for path in project.runs.glob("probe/*/metadata.json")}
    again = project.run("go")
    assert again.returncode == 1
    assert {path: path.stat().st_mtime_ns for path in project.runs.glob("probe/*/metadata.json")} == before
