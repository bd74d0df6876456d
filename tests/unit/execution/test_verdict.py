"""Who is to blame for an attempt: the table that separates failed from broken."""

from __future__ import annotations

import dataclasses

import pytest

from runner.engine.protocol import ContainerState
from runner.evidence.untrusted import ShimReport
from runner.execution.verdict import ENDED_WITH_ENGINE, Facts, judge


def _state(code: int | None = 0, *, oom: bool = False, status: str = "exited", error: str = "") -> ContainerState:
    return ContainerState(
        id="c", name="c", status=status, exit_code=code, oom_killed=oom, error=error, started_at=1.0, finished_at=2.0
    )


def _report(**fields: object) -> ShimReport:
    return ShimReport.model_validate({"version": 1, "exit_code": 0, **fields})


_OVER = "budgets.run.calls is 5 and 5 are used"
_PASSED = Facts(
    state=_state(),
    report=_report(),
    oom_kills=0,
    memory_limit=1024,
    deadline=60.0,
    deadline_name="limits.step_timeout",
    overdue=False,
    cancelled="",
    model_error="",
    exceeded="",
    engine_error="",
    changed=3,
    expect_changes=True,
    message="",
)


@pytest.mark.parametrize(
    ("change", "outcome", "reason"),
    [
        ({}, "passed", ""),
        ({"expect_changes": False, "changed": 0}, "passed", ""),
        ({"changed": 0}, "failed", "exited 0 but changed nothing in the workspace"),
        ({"changed": 0, "message": "no idea"}, "failed", "exited 0 but changed nothing in the workspace: no idea"),
        ({"state": _state(3)}, "failed", "exit code 3"),
        ({"state": _state(3), "message": "gave up"}, "failed", "exit code 3: gave up"),
        ({"state": _state(3), "message": "gave\r\nup:\u2028done"}, "failed", "exit code 3: gave up: done"),
        ({"state": _state(3), "report": _report(error="not ours")}, "failed", "exit code 3"),
        ({"state": _state(143), "watched": "too much"}, "exceeded", "too much"),
        ({"watched": "too much"}, "exceeded", "too much"),
        ({"state": _state(143), "watched": "too much", "cancelled": "enough"}, "cancelled", "enough"),
        (
            {"state": _state(153), "report": _report(signal=25), "file_limit": 9},
            "exceeded",
            "a file would have had more than the 9 bytes of limits.workspace",
        ),
        ({"state": _state(137), "report": _report(signal=9)}, "failed", "killed by signal 9 (SIGKILL)"),
        ({"state": _state(188), "report": _report(signal=60)}, "failed", "killed by signal 60"),
        ({"state": _state(137), "report": None}, "broken", "the whole container was killed"),
        ({"state": _state(255), "report": None}, *ENDED_WITH_ENGINE),
        ({"report": _report(exit_code=3)}, *ENDED_WITH_ENGINE),
        ({"report": None}, "passed", ""),
        ({"report": None, "taken_up": True}, "broken", "exit code 0 without the shim's report"),
        ({"state": _state(1), "report": None}, "broken", "exit code 1 without the shim's report"),
        ({"state": _state(255), "report": _report(exit_code=0)}, *ENDED_WITH_ENGINE),
        ({"state": _state(255), "report": _report(exit_code=255)}, "failed", "exit code 255"),
        ({"state": _state(143), "report": None}, "broken", "was stopped (SIGTERM) before the shim"),
        ({"state": _state(143), "report": _report(signal=15)}, "failed", "killed by signal 15 (SIGTERM)"),
        ({"state": _state(137, oom=True), "report": None}, "exceeded", "out of memory: limits.memory is 1024 bytes"),
        ({"state": _state(1), "oom_kills": 2}, "exceeded", "out of memory"),
        ({"oom_kills": 1}, "passed", ""),
        ({"restarted": True}, "passed", ""),
        ({"restarted": True, "state": _state(3), "report": _report(exit_code=3)}, "failed", "exit code 3"),
        ({"restarted": True, "state": _state(255)}, *ENDED_WITH_ENGINE),
        ({"restarted": True, "state": _state(143), "report": _report(stopped=True, exit_code=143)}, *ENDED_WITH_ENGINE),
        ({"restarted": True, "state": _state(137), "report": None}, *ENDED_WITH_ENGINE),
        ({"restarted": True, "report": None}, *ENDED_WITH_ENGINE),
        ({"state": _state(124), "report": None, "waited": 61.0}, "timed_out", "not finished after 60 s"),
        ({"state": _state(124), "report": None, "waited": 59.0}, "broken", "exit code 124 without the shim's report"),
        ({"state": _state(124)}, "failed", "exit code 124"),
        (
            {"state": _state(124), "report": _report(timed_out=True)},
            "timed_out",
            "not finished after 60 s (limits.step_timeout)",
        ),
        ({"state": _state(137), "report": None, "overdue": True}, "timed_out", "not finished after 60 s"),
        ({"state": _state(127), "report": _report(error="agent: not found")}, "broken", "agent: not found"),
        ({"state": _state(1), "model_error": "401"}, "broken", "the model did not answer: 401"),
        ({"model_error": "429 once, then answered"}, "passed", ""),
        ({"changed": 0, "model_error": "503"}, "broken", "the model did not answer: 503"),
        ({"state": _state(1), "exceeded": _OVER}, "exceeded", _OVER),
        ({"exceeded": _OVER}, "exceeded", _OVER),
        ({"state": _state(124), "report": _report(timed_out=True), "exceeded": _OVER}, "timed_out", "not finished"),
        (
            {"state": _state(143), "cancelled": "stopped by the user", "exceeded": _OVER},
            "cancelled",
            "stopped by the user",
        ),
        ({"exceeded": _OVER, "replay_error": "unknown request"}, "exceeded", _OVER),
        ({"replay_error": "unknown request"}, "broken", "unknown request"),
        ({"state": _state(143), "report": _report(stopped=True)}, "broken", "stopped from outside"),
        ({"state": None, "engine_error": "engine away"}, "broken", "engine away"),
        ({"state": None}, "broken", "the engine lost the container"),
        ({"state": _state(None, status="created", error="no such file")}, "broken", "did not start: no such file"),
        ({"state": _state(143), "cancelled": "stopped by the user"}, "cancelled", "stopped by the user"),
        ({"state": None, "cancelled": "stopped by the user"}, "cancelled", "stopped by the user"),
        ({"cancelled": "stopped by the user"}, "passed", ""),
    ],
)
def test_verdicts(change: dict[str, object], outcome: str, reason: str) -> None:
    """Each way to end has its outcome, and a reason that names the value."""
    verdict = judge(dataclasses.replace(_PASSED, **change))  # type: ignore[arg-type]  # a table of fields
    assert verdict[0] == outcome
    assert reason in verdict[1]
    assert bool(verdict[1]) == (outcome != "passed")


def test_a_deadline_is_exit_code_124_whoever_enforced_it() -> None:
    """When the runner had to kill, the recorded code is 124 and not the engine's 137."""
    killed = dataclasses.replace(_PASSED, state=_state(137), report=None)
    assert dataclasses.replace(killed, overdue=True).code == 124
    assert killed.code == 137
    assert dataclasses.replace(_PASSED, state=None).code is None


@pytest.mark.parametrize(("deadline", "outcome"), [(1.0, "timed_out"), (1.5, "broken")])
def test_without_a_report_the_clock_decides_what_124_means(deadline: float, outcome: str) -> None:
    """On a full disk there is no report: 124 after its whole time is the deadline, before it nobody knows what it is."""
    facts = dataclasses.replace(_PASSED, state=_state(124), report=None, deadline=deadline)
    assert judge(facts)[0] == outcome


def test_a_replay_that_went_wrong_is_broken() -> None:
    """A run whose replay had no answer is broken even if the framework went on, changed files and exited 0."""
    assert judge(_PASSED) == ("passed", "")
    assert judge(dataclasses.replace(_PASSED, replay_error="replay: call 2 ...")) == ("broken", "replay: call 2 ...")
