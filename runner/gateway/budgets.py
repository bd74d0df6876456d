"""Budgets: what model calls may use up, of a step, a run and the experiment, and what they have.

What is not known of a call, like tokens that nobody stated, uses up nothing: a budget never refuses on a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from runner.gateway.calls import Call, seconds_in
from runner.gateway.settings import Spent
from runner.spec.model import Budget

if TYPE_CHECKING:
    from runner.gateway.providers.protocol import Refused

_STATUS = 403
"""Of a call over budget: SDKs take it for final, and say what the body says."""


class Purse:
    """Holds what one budget has left; the experiment's is shared by all its sessions.

    Args:
        name: what the budget is called, like `budgets.run`.
        budget: how much there is.
        spent: what had been used up before.
    """

    def __init__(self, name: str, budget: Budget, spent: Spent | None = None) -> None:
        self.name = name
        self.budget = budget
        before = spent or Spent()
        self.tokens = before.tokens
        self.calls = before.calls
        self.dollars = before.dollars
        self.call_time = before.call_time

    def exceeded(self) -> str:
        """Return which limit has been reached, in a sentence; empty if there is something left of each."""
        budget, used_up = self.budget, "is used up"
        checks = (
            ("tokens", budget.tokens, self.tokens, _number(budget.tokens), f"{self.tokens:,} are used"),
            ("calls", budget.calls, self.calls, _number(budget.calls), f"{self.calls:,} are used"),
            ("dollars", budget.dollars, self.dollars, f"${budget.dollars or 0:g}", f"${self.dollars:.4f} are used"),
            ("call_time", budget.call_time, self.call_time, f"{budget.call_time or 0:g} s", used_up),
        )
        for word, limit, used, shown, state in checks:
            if limit is not None and used >= limit:
                return f"{self.name}.{word} is {shown} and {state}"
        return ""

    def add(self, spent: Spent) -> None:
        """Count what a call has used up."""
        self.tokens += spent.tokens
        self.calls += spent.calls
        self.dollars += spent.dollars
        self.call_time += spent.call_time

    def at_least(self, spent: Spent) -> None:
        """Count what is known to be used up, where that is more than what is known here."""
        self.tokens = max(self.tokens, spent.tokens)
        self.calls = max(self.calls, spent.calls)
        self.dollars = max(self.dollars, spent.dollars)
        self.call_time = max(self.call_time, spent.call_time)

    @property
    def spent(self) -> Spent:
        """Return what has been used up."""
        return Spent(tokens=self.tokens, calls=self.calls, dollars=self.dollars, call_time=self.call_time)

    @property
    def seconds_left(self) -> float | None:
        """Time that calls may still take; None if it is not limited."""
        limit = self.budget.call_time
        return None if limit is None else max(0.0, limit - self.call_time)


class Purses:
    """Holds the purses that a session's calls are paid from.

    A call is counted when it begins, so that no more than the allowed number are under way; tokens, dollars and time
    are known when it ends. Calls under way when a budget is reached are finished and count.
    """

    def __init__(self, purses: Sequence[Purse]) -> None:
        self._purses = tuple(purses)

    def begin(self) -> None:
        """Count a call that is about to be made.

        Raises:
            Refused: if a budget is used up; nothing is counted then.
        """
        for purse in self._purses:
            if sentence := purse.exceeded():
                raise _refusal(sentence)
        self._add(Spent(calls=1))

    def end(self, call: Call) -> None:
        """Count what a call that had begun has used up."""
        self.cancel()
        self._add(spent_by([call]))

    def cancel(self) -> None:
        """Forget a call that had begun and never became one."""
        self._add(Spent(calls=-1))

    def seconds_left(self) -> float | None:
        """Return how long a call may take, seconds, waiting aside; None if that is not limited."""
        known = [left for purse in self._purses if (left := purse.seconds_left) is not None]
        return min(known) if known else None

    def out_of_time(self) -> Refused:
        """Return why a call is ended that has taken all of `seconds_left`."""
        timed = [purse for purse in self._purses if purse.seconds_left is not None]
        tightest = min(timed, key=lambda purse: purse.seconds_left or 0.0)
        return _refusal(f"{tightest.name}.call_time is {tightest.budget.call_time:g} s and is used up", begun=True)

    def _add(self, spent: Spent) -> None:
        for purse in self._purses:
            purse.add(spent)


def spent_by(calls: Iterable[Call]) -> Spent:
    """Return what calls have used up of a budget; those that the gateway itself refused use up nothing."""
    counted = [call for call in calls if _was_made(call)]
    return Spent(
        tokens=sum((call.tokens_in or 0) + (call.tokens_out or 0) for call in counted),
        calls=len(counted),
        dollars=sum((call.cost_usd or 0.0 for call in counted), 0.0),
        call_time=sum((seconds_in(call) for call in counted), 0.0),
    )


def _was_made(call: Call) -> bool:
    """Tell whether a provider was asked, or may have been."""
    refused_here = call.model_sent is None and call.fault is not None and call.usage_source == "no answer"
    return not refused_here and not (call.exceeded and call.usage_source == "no answer")


def _refusal(sentence: str, *, begun: bool = False) -> Refused:
    # Whoever only adds up calls files has no need of what a provider's room brings with it.
    from runner.gateway.providers.protocol import Refused

    return Refused(
        _STATUS,
        f"over budget: {sentence}",
        kind="budget_exceeded",
        fault="framework",
        code="budget_exceeded",
        begun=begun,
        retry=False,
        exceeded=sentence,
    )


def _number(value: int | None) -> str:
    return f"{value or 0:,}"
