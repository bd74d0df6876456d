"""Turn what a check's container left into a verdict: nothing is taken for granted, and nothing passes by default."""

from __future__ import annotations

from pathlib import Path

from runner.evidence.layout import StepLayout
from runner.evidence.logs import tail
from runner.evidence.untrusted import ShimReport, read_shim_report
from runner.evidence.verdicts import Assertion, CheckVerdict, Evidence, Judgement, read_judgement
from runner.execution.contain import Ended
from runner.execution.verdict import seconds_by_engine
from runner.spec.judging import Check
from runner.spec.units import show_seconds

_TAIL = 40
"""Lines of a program's output that are evidence."""


def nothing(bare: CheckVerdict, reason: str, judged_at: str | None) -> CheckVerdict:
    """Return the verdict of a check that could not be performed."""
    return bare.model_copy(update={"reason": reason, "unjudged": 1, "judged_at": judged_at})


def assess(
    bare: CheckVerdict, check: Check, ended: Ended, out: Path, files: StepLayout, *, excess: str = ""
) -> CheckVerdict:
    """Return what a check's container said, as far as it can be used.

    Args:
        bare: the verdict without what it says.
        check: the check.
        ended: what is known of the container.
        out: folder that was its /out.
        files: where its output was kept.
        excess: what it was stopped for having written too much of; empty if it was not.
    """
    report = read_shim_report(out)
    judgement, problem = read_judgement(out)
    trouble = excess or _trouble(check, ended, report)
    code = _code(ended, report)
    said = judgement or Judgement()
    assertions = _distinct(said.assertions)
    if check.kind == "program":
        assertions = (*assertions, _of_program(check, code, trouble, files))
        problem = ""
    reason = trouble or problem
    state = ended.state
    return bare.model_copy(
        update={
            "reason": reason or ("" if assertions else "the check asserted nothing"),
            "passed": sum(one.verdict == "passed" for one in assertions),
            "failed": sum(one.verdict == "failed" for one in assertions),
            # What ended too early may have had more to say.
            "unjudged": sum(one.verdict == "unjudged" for one in assertions) + bool(reason or not assertions),
            "seconds": report.seconds if report is not None else seconds_by_engine(state) if state else None,
            "exit_code": code,
            "timed_out": _timed_out(ended, report),
            "oom_killed": bool(state is not None and state.oom_killed),
            "judge": said.judge,
            "application": said.application,
            "assertions": assertions,
            "figures": said.figures,
            "findings": said.findings,
        }
    )


def _distinct(assertions: tuple[Assertion, ...]) -> tuple[Assertion, ...]:
    """Return the first assertion of each id: what says two things of one has said the first."""
    return tuple({one.id: one for one in reversed(assertions)}.values())[::-1]


def _timed_out(ended: Ended, report: ShimReport | None) -> bool:
    return ended.overdue or bool(report is not None and report.timed_out)


def _code(ended: Ended, report: ShimReport | None) -> int | None:
    if report is not None and report.exit_code is not None:
        return report.exit_code
    return ended.state.exit_code if ended.state is not None else None


def _trouble(check: Check, ended: Ended, report: ShimReport | None) -> str:
    """Return in a sentence what kept a check from its end; empty if nothing did."""
    if ended.error or ended.state is None:
        return f"the check could not be run: {ended.error or 'it was stopped'}"
    code, limits = _code(ended, report), check.limits
    told = (
        (ended.restarted, "the engine ended while the check ran"),
        (ended.state.oom_killed, f"the check needed more memory than its limits.memory, {limits.memory} bytes"),
        (
            _timed_out(ended, report),
            f"the check did not end within its limits.timeout, {show_seconds(limits.timeout)}",
        ),
        (report is None or code is None, f"the check was killed, exit code {code}"),
        (report is not None and report.error, f"the check could not be started: {report.error if report else ''}"),
        (code != 0 and check.kind != "program", f"the check ended with exit code {code}"),
    )
    return next((text for so, text in told if so), "")


def _of_program(check: Check, code: int | None, trouble: str, files: StepLayout) -> Assertion:
    """Return what the exit code of a scenario's own program says: 0, and nothing else, is passed."""
    lines = [line for stream in ("stdout", "stderr") for line in tail(files.log(stream), _TAIL)]
    evidence = Evidence(log_tail="\n".join(lines))
    name = f"{check.id}.exit"
    if trouble or code is None:
        return Assertion(id=name, operation="program", verdict="unjudged", reason=trouble, evidence=evidence)
    reason = f"it ended with exit code {code}" if code else ""
    return Assertion(
        id=name, operation="program", verdict="failed" if code else "passed", reason=reason, evidence=evidence
    )
