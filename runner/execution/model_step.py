"""One direct call of the model: a step without a container, over a gateway session like a container's."""

from __future__ import annotations

import time

from runner.engine.protocol import Usage
from runner.events import AttemptStarted
from runner.evidence.layout import RunLayout
from runner.evidence.metrics import RESOURCES
from runner.evidence.records import AttemptRecord
from runner.execution.attempt import Attempt, Order
from runner.execution.container import prepare_attempt
from runner.execution.context import iso, now
from runner.execution.model_calls import Metered, model_session
from runner.execution.outputs import answer_outputs
from runner.execution.values import Unusable, Value
from runner.execution.verdict import CallFacts, judge_call
from runner.gateway.calls import read_calls
from runner.gateway.direct import Answer, Question, WireName, ask
from runner.names import EXIT_TIMED_OUT
from runner.plan.models import PlannedCall

_NO_CONTAINER = "a model step has no container"


def perform_call(order: Order) -> Attempt:
    """Ask the model once, and take its answer as the step's output.

    The gateway pins, meters and records the request and the answer like those of any framework.

    Returns:
        The attempt, whatever happened.

    Raises:
        GatewayError: if the gateway cannot open a session.
    """
    context, run, step = order.context, order.run, order.step
    prepare_attempt(order.files, run, order.ready, order.number)
    answer, began, seconds = Answer(), now(), 0.0
    with model_session(context, run, step, order.number) as metered:
        context.events(AttemptStarted(time=now(), run=run.id, step=step.id, attempt=order.number, container=""))
        if metered.session is None:
            answer = Answer(error="there is no gateway to a model")
        elif not context.cancellation.cancelled:
            began, clock = now(), time.monotonic()
            answer = ask(metered.session, _question(order), seconds=order.deadline, telling=context.cancellation.told)
            seconds = time.monotonic() - clock
    return _assess(order, answer, metered, (began, seconds))


def _question(order: Order) -> Question:
    call = order.step.call or PlannedCall(prompt=order.step.prompt)
    return Question(
        wire=_wire(order),
        model=order.run.model.name if order.run.model is not None else "",
        prompt=call.prompt,
        system=call.system,
        max_tokens=call.max_tokens,
    )


def _wire(order: Order) -> WireName:
    """Return how the run's provider is asked; a replay, as the recorded one was."""
    provider = order.run.model.provider if order.run.model is not None else ""
    recording = order.context.recordings.get(order.run.digest or "")
    if provider == "replay" and recording is not None:
        recorded = (one.format for one in read_calls(RunLayout(recording).calls).calls if one.step == order.step.id)
        return "anthropic-messages" if next(recorded, "") == "anthropic-messages" else "openai-chat"
    return "anthropic-messages" if provider == "anthropic" else "openai-chat"


def _assess(order: Order, answer: Answer, metered: Metered, times: tuple[float, float]) -> Attempt:
    outputs: tuple[Value, ...] = ()
    wrong = ""
    if answer.text is not None:
        try:
            outputs = answer_outputs(order.step, answer.text)
        except Unusable as error:
            wrong = error.what
    facts = CallFacts(
        answered=answer.text is not None,
        timed_out=answer.timed_out,
        deadline=order.deadline,
        deadline_name=order.deadline_name,
        cancelled=order.context.cancellation.why,
        exceeded=metered.exceeded,
        replay_error=metered.replay_error,
        model_error=metered.error,
        refusal=answer.error,
        wrong_answer=wrong,
    )
    record = _record(order, answer, facts, times)
    cut = ("the model's answer was cut off at its longest",) if answer.cut else ()
    return Attempt(
        record=record,
        usage=Usage(reasons=dict.fromkeys(RESOURCES, _NO_CONTAINER)),
        report=None,
        result=None,
        totals=metered.totals,
        tree=order.place.before if order.place.workspace is not None else None,
        changed=None,
        notes=(*cut, *metered.notes),
        outputs=outputs if record.outcome == "passed" else (),
    )


def _record(order: Order, answer: Answer, facts: CallFacts, times: tuple[float, float]) -> AttemptRecord:
    outcome, reason = judge_call(facts)
    began, seconds = times
    return AttemptRecord(
        attempt=order.number,
        container="",
        image_id="",
        argv=("model", order.run.model.name if order.run.model is not None else ""),
        started_at=iso(began),
        finished_at=iso(began + seconds),
        seconds=seconds,
        exit_code=EXIT_TIMED_OUT if outcome == "timed_out" else None,
        signal=None,
        oom_killed=False,
        timed_out=outcome == "timed_out",
        stdout_bytes=None,
        stderr_bytes=None,
        dropped_bytes=0,
        outcome=outcome,
        reason=reason,
        error=answer.error,
    )
