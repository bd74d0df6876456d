"""Events folded into what the live view shows."""

from __future__ import annotations

from dataclasses import replace

from runner.cli.progress import Progress, begin
from runner.events import ModelCalled, OutputLine, RunFinished, RunStarted, RunSuspended, StepFinished, StepStarted

KINDS = [("mini", "crud"), ("ghspec", "crud"), ("mini", "crud"), ("ghspec", "crud")]


def started(run: str, time: float, framework: str = "mini", scenario: str = "crud") -> RunStarted:
    """Return the event of a run of six steps."""
    return RunStarted(time=time, run=run, framework=framework, scenario=scenario, repetition=1, steps_total=6)


def finished(run: str, time: float, seconds: float, outcome: str = "passed") -> RunFinished:
    """Return the event of a run's end."""
    return RunFinished(time=time, run=run, outcome=outcome, reason="", seconds=seconds)


def names(progress: Progress) -> list[str]:
    """Return the runs by place, empty where the place is free."""
    return [slot.run if slot else "" for slot in progress.slots]


def test_a_run_keeps_its_place() -> None:
    """When a run ends its place is free, and the next run takes it; the others stay where they are."""
    progress = begin(KINDS, jobs=2, now=0)
    for event in (started("a", 1), started("b", 1, "ghspec"), finished("a", 5, 4)):
        progress.tell(event)
    assert names(progress) == ["", "b"]
    progress.tell(started("c", 6))
    assert names(progress) == ["c", "b"]
    assert (progress.done, progress.total, sum(progress.left.values())) == (1, 4, 1)


def test_step_line_and_totals() -> None:
    """A slot shows its step and last line; a new step forgets the old one's line."""
    progress = begin(KINDS, jobs=2, now=0)
    progress.tell(started("a", 1))
    progress.tell(StepStarted(time=2, run="a", step="student", index=1))
    progress.tell(OutputLine(time=3, run="a", step="student", stream="stdout", line="hello"))
    assert [(slot.step, slot.line) for slot in progress.active] == [("student", "hello")]
    progress.tell(StepFinished(time=4, run="a", step="student", index=1, outcome="passed", reason="", seconds=2))
    assert [slot.line for slot in progress.active] == [""]


def test_unstated_tokens_and_prices_are_counted_as_such() -> None:
    """A call without usage adds nothing to the sums but makes them uncertain."""
    progress = begin(KINDS, jobs=2, now=0)
    progress.tell(ModelCalled(time=1, run="a", step="s", tokens_in=10, tokens_out=2, cost_usd=0.5))
    progress.tell(ModelCalled(time=1, run="a", step="s", tokens_in=None, tokens_out=2, cost_usd=None))
    use = progress.use
    assert (use.tokens_in, use.tokens_out, use.cost_usd) == (10, 4, 0.5)
    assert (use.calls, use.uncounted_calls, use.unpriced_calls) == (2, 1, 1)


def test_calls_belong_to_their_run() -> None:
    """A call counts in its own run's place and in the totals, which keep it when the run has ended."""
    progress = begin(KINDS, jobs=2, now=0)
    for event in (started("a", 1), started("b", 1)):
        progress.tell(event)
    for _ in range(2):
        progress.tell(ModelCalled(time=2, run="a", step="s", tokens_in=10, tokens_out=2, waited_seconds=1.5))
    assert [(slot.use.calls, slot.use.waited_seconds) for slot in progress.active] == [(2, 3.0), (0, 0.0)]
    progress.tell(finished("a", 5, 4))
    assert (progress.use.calls, progress.use.waited_seconds) == (2, 3.0)


def test_no_estimate_before_a_run_has_finished() -> None:
    """Nothing is guessed from nothing."""
    progress = begin(KINDS, jobs=2, now=0)
    progress.tell(started("a", 1))
    assert progress.eta(10) == (None, False)


def test_the_estimate_is_a_lower_bound_until_every_kind_has_finished() -> None:
    """Kinds that have not finished yet count nothing, and the estimate says so."""
    progress = begin(KINDS, jobs=2, now=0)
    for event in (started("a", 0), started("b", 0, "ghspec"), finished("a", 10, 10)):
        progress.tell(event)
    assert progress.eta(10) == (5.0, False)
    progress.tell(finished("b", 30, 30))
    assert progress.eta(30) == (20.0, True)


def test_the_estimate_is_at_least_the_longest_run() -> None:
    """One long run under way cannot be shared between slots; one that takes longer than usual needs nothing more."""
    progress = begin([("mini", "crud")], jobs=8, now=0, history={("mini", "crud"): [100.0, 300.0]})
    progress.tell(started("a", 0))
    assert progress.eta(50) == (150.0, True)
    assert progress.eta(500) == (0.0, True)


def test_events_of_strangers_change_no_slot() -> None:
    """An event of a run that is not under way is no error."""
    progress = begin(KINDS, jobs=2, now=0)
    progress.tell(OutputLine(time=3, run="x", step="s", stream="stdout", line="hello"))
    progress.tell(finished("x", 3, 1, "broken"))
    assert progress.outcomes["broken"] == 1
    assert progress.active == []


def test_a_run_that_was_stopped_says_nothing_about_the_others() -> None:
    """The estimate looks at runs that ended by themselves only."""
    progress = begin(KINDS, jobs=2, now=0)
    for event in (started("a", 0), finished("a", 1, 1, "cancelled"), started("b", 1), finished("b", 2, 1, "broken")):
        progress.tell(event)
    assert progress.eta(2) == (None, False)


def begun(step: str, index: int) -> StepStarted:
    """Return the event of a step of run `a` that begins."""
    return StepStarted(time=2, run="a", step=step, index=index)


def ended(step: str, index: int) -> StepFinished:
    """Return the event of a step of run `a` that has passed."""
    return StepFinished(time=3, run="a", step=step, index=index, outcome="passed", reason="", seconds=1)


def test_steps_side_by_side() -> None:
    """A place knows all steps that are under way, in the order in which they began, and how many have ended."""
    progress = begin(KINDS, jobs=2, now=0)
    for event in (started("a", 1), begun("x", 1), begun("y", 2), begun("z", 3), ended("y", 2)):
        progress.tell(event)
    (slot,) = progress.active
    assert (slot.under_way, slot.ended) == (("x", "z"), 1)


def test_a_suspended_run_has_no_place_and_comes_back() -> None:
    """It is neither running nor left nor done; when it goes on it knows what it has behind it, and is counted once."""
    progress = begin(KINDS, jobs=2, now=0)
    for event in (
        started("a", 1),
        begun("x", 1),
        ended("x", 1),
        RunSuspended(time=4, run="a", steps=("y",), seconds=3),
    ):
        progress.tell(event)
    assert (progress.active, progress.suspended) == ([], {"a"})
    assert (progress.done, progress.total, sum(progress.left.values())) == (0, 4, 3)
    progress.tell(replace(started("a", 9), steps_done=2))
    assert ([slot.ended for slot in progress.active], progress.suspended) == ([2], set())
    assert (progress.total, sum(progress.left.values())) == (4, 3)
