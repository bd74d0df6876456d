"""Turn the facts of an attempt into an outcome and a sentence; the one place that tells failed from broken."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from runner.engine.protocol import ContainerState
from runner.evidence.records import Outcome
from runner.evidence.untrusted import ShimReport
from runner.names import EXIT_TIMED_OUT

_KILLED_WHOLE = {
    128 + signal.SIGKILL: "the whole container was killed (SIGKILL, and neither for memory nor by us)",
    128 + signal.SIGTERM: "the whole container was stopped (SIGTERM) before the shim in it could note that",
}
"""Exit codes of a container that leaves no report: the shim writes one whenever it ends by itself."""
_UNSEEN = frozenset({0, 255})
"""What an engine says of a container that ended while the engine was away, if it does not know better."""
_NEVER_STARTED = frozenset({125, 126, 127})
"""Exit codes of a shim that could not start the command."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of an attempt once its container is gone or never was."""

    state: ContainerState | None
    """None: the container never existed or could not be inspected."""
    report: ShimReport | None
    """What the shim wrote; None if it was killed before it could."""
    oom_kills: int | None
    memory_limit: int
    deadline: float
    """Seconds the attempt was given."""
    deadline_name: str
    """Which limit that was: `limits.step_timeout` or `limits.run_timeout`."""
    overdue: bool
    """Whether the runner itself had to stop the container, the shim's deadline not having worked."""
    cancelled: str
    """By what the attempt was stopped, as the reason; empty if it was not."""
    model_error: str
    """Why the model could not answer, if that is the provider's or our doing; empty otherwise."""
    exceeded: str
    """Which budget a model call was refused for; empty if none was."""
    engine_error: str
    """What the engine refused, if it did."""
    changed: int | None
    """Paths added, changed or removed in the workspace; None if not known."""
    expect_changes: bool
    message: str
    """What the framework itself reported; may be empty."""
    replay_error: str = ""
    """Why a replay is none, like a request that was never recorded; empty if it went well, or nothing is replayed."""

    restarted: bool = False
    """Whether the engine was away, or ended, while the container was there."""
    taken_up: bool = False
    """Whether an earlier runner began it, and what went on then nobody saw."""
    waited: float | None = None
    """Seconds from its start to the news of its end, by a steady clock; None if the runner did not see both."""
    watched: str = ""
    """What the runner's watch found too much of, in a sentence; empty if nothing was."""
    file_limit: int = 0
    """Bytes that one file may have (RLIMIT_FSIZE)."""

    @property
    def timed_out(self) -> bool:
        """Whether a deadline ended the attempt; exit code 124 alone is no proof, a command may return it."""
        if self.overdue or self.report is not None:
            return self.overdue or bool(self.report and self.report.timed_out)
        state = self.state
        if state is None or state.exit_code != EXIT_TIMED_OUT:
            return False
        seconds = self.waited if self.waited is not None else seconds_by_engine(state)
        return seconds is not None and seconds >= self.deadline

    @property
    def code(self) -> int | None:
        """The step's exit code: 124 after a deadline, whoever enforced it."""
        if self.timed_out:
            return EXIT_TIMED_OUT
        return self.state.exit_code if self.state is not None else None


def seconds_by_engine(state: ContainerState | None) -> float | None:
    """Return how long a container ran by the times of day that the engine noted; None if it did not note both."""
    if state is None or state.started_at is None or state.finished_at is None:
        return None
    return state.finished_at - state.started_at


Verdict = tuple[Outcome, str]

ENDED_WITH_ENGINE: Verdict = ("broken", "the engine was restarted, and the container ended with it")
"""What becomes of an attempt whose end says nothing of how it would have ended."""


def judge(facts: Facts) -> Verdict:
    """Return the outcome of an attempt and why, by the first rule that applies; passed if none does."""
    return next((verdict for rule in _RULES if (verdict := rule(facts)) is not None), ("passed", ""))


@dataclass(frozen=True, kw_only=True)
class CallFacts:
    """What is known of a direct call of the model once it is over."""

    answered: bool
    timed_out: bool
    deadline: float
    """Seconds the attempt was given."""
    deadline_name: str
    cancelled: str
    """By what it was stopped, as the reason; empty if it was not."""
    exceeded: str
    """Which budget the call was refused for; empty if none was."""
    replay_error: str
    model_error: str
    """Why the model could not answer, if that is the provider's or our doing; empty otherwise."""
    refusal: str
    """What was said in place of an answer; empty if there is one."""
    wrong_answer: str
    """Why the answer is not what the step has to give; empty if it is."""


def judge_call(facts: CallFacts) -> Verdict:
    """Return the outcome of a direct call of the model and why, by the same order of rules as for a container."""
    ways: tuple[tuple[bool, Outcome, str], ...] = (
        (bool(facts.cancelled) and not facts.answered, "cancelled", facts.cancelled),
        (facts.timed_out, "timed_out", f"not finished after {facts.deadline:g} s ({facts.deadline_name})"),
        (bool(facts.exceeded), "exceeded", facts.exceeded),
        (bool(facts.replay_error), "broken", facts.replay_error),
        (not facts.answered and bool(facts.model_error), "broken", f"the model did not answer: {facts.model_error}"),
        (not facts.answered, "failed", f"the model gave no answer: {facts.refusal}"),
        (bool(facts.wrong_answer), "failed", facts.wrong_answer),
    )
    return next(((outcome, reason) for holds, outcome, reason in ways if holds), ("passed", ""))


def _stopped(facts: Facts) -> Verdict | None:
    """A step that ended well just as everything was stopped has still ended well."""
    ended_well = facts.state is not None and facts.state.status == "exited" and facts.code == 0
    return ("cancelled", facts.cancelled) if facts.cancelled and not ended_well else None


def _lost(facts: Facts) -> Verdict | None:
    if facts.engine_error:
        return "broken", facts.engine_error
    if facts.state is None:
        return "broken", "the engine lost the container"
    if facts.state.status == "created" or facts.state.exit_code is None:
        return "broken", f"the container did not start: {facts.state.error or 'the engine gives no reason'}"
    return None


def _out_of_memory(facts: Facts) -> Verdict | None:
    killed = facts.state is not None and (facts.state.oom_killed or bool(facts.oom_kills))
    if killed and facts.code != 0:
        return "exceeded", f"out of memory: limits.memory is {facts.memory_limit} bytes"
    return None


def _over_watched(facts: Facts) -> Verdict | None:
    return ("exceeded", facts.watched) if facts.watched else None


def _file_too_large(facts: Facts) -> Verdict | None:
    if facts.report is not None and facts.report.signal == signal.SIGXFSZ:
        return "exceeded", f"a file would have had more than the {facts.file_limit} bytes of limits.workspace"
    return None


def _overdue(facts: Facts) -> Verdict | None:
    if facts.timed_out:
        return "timed_out", f"not finished after {facts.deadline:g} s ({facts.deadline_name})"
    return None


def _over_budget(facts: Facts) -> Verdict | None:
    return ("exceeded", facts.exceeded) if facts.exceeded else None


def _replayed_wrong(facts: Facts) -> Verdict | None:
    """What follows an answer that was missing is no repetition of anything, however well it ends."""
    return ("broken", facts.replay_error) if facts.replay_error else None


def _ended_with_engine(facts: Facts) -> Verdict | None:
    """A container that outlived the engine, or ended by itself before, has a report that agrees with its exit code.

    That the engine was restarted cannot always be seen, as behind a proxy, while no runner lived.
    """
    report = facts.report
    own = report is not None and not report.stopped and report.exit_code == facts.code
    # A command that met with a full disk may return 0, and the shim find no room for its report.
    unseen = facts.code in _UNSEEN and (report is not None or facts.code != 0)
    return ENDED_WITH_ENGINE if not own and (facts.restarted or unseen) else None


def _killed_whole(facts: Facts) -> Verdict | None:
    words = _KILLED_WHOLE.get(facts.code or 0) if facts.report is None else None
    return ("broken", words) if words else None


def _unreported(facts: Facts) -> Verdict | None:
    """A shim that cannot write its report has no room for it; what its command met with then is not the framework's doing."""
    if facts.report is None and (facts.code or facts.taken_up):
        return "broken", f"exit code {facts.code} without the shim's report: there was no room on the disk for it"
    return None


def _stopped_from_outside(facts: Facts) -> Verdict | None:
    if facts.report is not None and facts.report.stopped:
        return "broken", "the container was stopped from outside, by somebody or by the engine's own end"
    return None


def _not_startable(facts: Facts) -> Verdict | None:
    """A step can write a report, and kill the shim before it writes its own; these exit codes it cannot give then."""
    error = facts.report.error if facts.report is not None else ""
    return ("broken", " ".join(error.split())) if error and facts.code in _NEVER_STARTED else None


def _no_model(facts: Facts) -> Verdict | None:
    if facts.model_error and (facts.code != 0 or (facts.expect_changes and facts.changed == 0)):
        return "broken", f"the model did not answer: {facts.model_error}"
    return None


def _nonzero(facts: Facts) -> Verdict | None:
    return ("failed", _with_message(_exit_words(facts), facts.message)) if facts.code != 0 else None


def _nothing_done(facts: Facts) -> Verdict | None:
    if facts.expect_changes and facts.changed == 0:
        return "failed", _with_message("exited 0 but changed nothing in the workspace", facts.message)
    return None


_RULES: tuple[Callable[[Facts], Verdict | None], ...] = (
    _stopped,
    _lost,
    _out_of_memory,
    _over_watched,
    _file_too_large,
    _overdue,
    _over_budget,
    _replayed_wrong,
    _ended_with_engine,
    _killed_whole,
    _stopped_from_outside,
    _not_startable,
    _unreported,
    _no_model,
    _nonzero,
    _nothing_done,
)
"""First match wins: what we know for certain to be the user's, ours or a limit's doing comes before the framework's."""


def _exit_words(facts: Facts) -> str:
    number = facts.report.signal if facts.report is not None else None
    if number:
        try:
            return f"killed by signal {number} ({signal.Signals(number).name})"
        except ValueError:
            return f"killed by signal {number}"
    return f"exit code {facts.code}"


def _with_message(words: str, message: str) -> str:
    """Add what the framework says of itself, on one line: no text of its making begins a line of ours."""
    said = " ".join(message.split())
    return f"{words}: {said}" if said else words
