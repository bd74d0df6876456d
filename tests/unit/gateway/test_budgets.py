"""What calls use up of budgets, and what happens at their end."""

from __future__ import annotations

from typing import Any

import pytest
from support.metered import make_call

from runner.gateway.budgets import Purse, Purses, spent_by
from runner.gateway.providers.protocol import Refused
from runner.gateway.settings import Spent
from runner.spec.model import Budget

REFUSED = {"usage_source": "no answer", "tokens_in": None, "tokens_out": None, "cost_usd": None}


def purses(spent: Spent | None = None, **budget: Any) -> Purses:
    """Return purses of which the run's is limited."""
    return Purses([Purse("budgets.step", Budget()), Purse("budgets.run", Budget(**budget), spent)])


def refusal(one: Purses) -> Refused:
    """Return why another call is refused."""
    with pytest.raises(Refused) as caught:
        one.begin()
    return caught.value


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        ({"tokens": 100}, "budgets.run.tokens is 100 and 1,014 are used"),
        ({"calls": 1}, "budgets.run.calls is 1 and 1 are used"),
        ({"dollars": 0.2}, "budgets.run.dollars is $0.2 and $0.2500 are used"),
        ({"call_time": 1.0}, "budgets.run.call_time is 1 s and is used up"),
    ],
)
def test_call_beyond_a_budget_is_refused(budget: dict[str, Any], sentence: str) -> None:
    """The call that uses a budget up is finished; the next is refused for good, in a sentence with both numbers."""
    one = purses(**budget)
    one.begin()
    one.end(make_call(tokens_in=1010))
    found = refusal(one)
    assert found.exceeded == sentence
    assert (found.status, found.code, found.fault, found.retry) == (403, "budget_exceeded", "framework", False)
    assert sentence in found.message


def test_calls_under_way_count_as_calls() -> None:
    """No more calls than allowed are under way at once."""
    one = purses(calls=2)
    one.begin()
    one.begin()
    assert refusal(one).exceeded == "budgets.run.calls is 2 and 2 are used"


def test_call_that_never_was_is_given_back() -> None:
    """A call that is taken back leaves room for another."""
    one = purses(calls=1)
    one.begin()
    one.cancel()
    one.begin()


def test_refused_call_counts_nothing_in_any_purse() -> None:
    """When one budget refuses a call, the others have not counted it."""
    step = Purse("budgets.step", Budget(calls=5))
    one = Purses([step, Purse("budgets.run", Budget(calls=1), Spent(calls=1))])
    refusal(one)
    assert step.calls == 0


def test_shared_purse_is_used_up_by_all() -> None:
    """What one run uses of the experiment's budget is gone for the others."""
    experiment = Purse("budgets.experiment", Budget(tokens=10))
    first, second = Purses([experiment]), Purses([experiment])
    first.begin()
    first.end(make_call())
    assert refusal(second).exceeded == "budgets.experiment.tokens is 10 and 14 are used"


def test_what_was_spent_before_counts() -> None:
    """A purse that is opened again goes on where it was."""
    assert refusal(purses(Spent(tokens=50), tokens=50)).exceeded == "budgets.run.tokens is 50 and 50 are used"


def test_time_left_is_the_least() -> None:
    """The tightest time in calls counts, without what a call waited; its end says which it was."""
    one = Purses(
        [Purse("budgets.step", Budget(call_time=60)), Purse("budgets.run", Budget(call_time=4), Spent(call_time=1))]
    )
    one.begin()
    one.end(make_call(latency_seconds=101.0, waited_seconds=100.0))
    assert one.seconds_left() == 2.0
    assert one.out_of_time().exceeded == "budgets.run.call_time is 4 s and is used up"
    assert purses(tokens=1).seconds_left() is None


def test_time_left_is_never_less_than_none() -> None:
    """A budget that calls under way have overdrawn has no time left."""
    assert purses(Spent(call_time=9.0), call_time=5).seconds_left() == 0.0


@pytest.mark.parametrize(
    "call",
    [
        {**REFUSED, "model_sent": None, "fault": "framework", "exceeded": "budgets.run.calls is 1 and 1 are used"},
        {**REFUSED, "exceeded": "budgets.run.calls is 1 and 1 are used", "fault": "framework"},
        {**REFUSED, "model_sent": None, "fault": "framework", "status": 401},
    ],
)
def test_what_the_gateway_refused_uses_up_nothing(call: dict[str, Any]) -> None:
    """A call over budget, or with a wrong token, reached no provider."""
    assert spent_by([make_call(**call)]) == Spent()


def test_unknown_usage_is_not_guessed() -> None:
    """A call that a provider may have worked on counts as one, with the tokens that are known."""
    lost = make_call(usage_source="unknown", tokens_in=None, tokens_out=None, cost_usd=None, model_sent=None)
    cut = make_call(usage_source="partial", tokens_out=None, cost_usd=None)
    failed = make_call(**REFUSED, status=500, fault="provider")
    assert spent_by([lost, cut, failed]) == Spent(tokens=10, calls=3, call_time=4.5)


def test_calls_add_up() -> None:
    """Tokens in and out, dollars and time of all calls are added."""
    assert spent_by([make_call(), make_call()]) == Spent(tokens=28, calls=2, dollars=0.5, call_time=3.0)
