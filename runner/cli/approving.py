"""The common part of `runner approve` and `runner reject`: find the question, write the decision down."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Literal

from runner.cli.console import Console
from runner.cli.finding import Place, find_own_run, read_record
from runner.cli.parser import unknown
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ConfigError, ExitCode
from runner.evidence.records import DecisionRecord, RunRecord, Suspension
from runner.execution.approvals import Answer, answer, decided, posted, read_answer
from runner.execution.context import iso
from runner.report.waiting import decision_words

Verb = Literal["approve", "reject"]


def add_decision_arguments(parser: ArgumentParser) -> None:
    """Add the run and the step, and what the person says."""
    parser.add_argument("run", metavar="RUN[@STEP]", help="run that waits; the step, if more than one waits")
    parser.add_argument("--message", metavar="TEXT", default="", help="why, for the record")
    add_output_option(parser)


def decide(args: Namespace, console: Console, verb: Verb) -> int:
    """Write a person's decision into the run's directory, where `runner go` finds it, at once or at its next start.

    Raises:
        ConfigError: if there is no such run or step, it does not wait, or it has been decided.
        StorageError: if the decision cannot be written.
    """
    name, _, step = args.run.partition("@")
    place = find_own_run(output_folder(args), name)
    record = read_record(place)
    asked = _asked(place, record, step)
    now = time.time()
    if (before := decided(place.layout, asked, now)) is not None:
        raise _decided(place, record, asked.step, before)
    given = Answer(step=asked.step, decision=verb, message=args.message, decided_at=iso(now) or "")
    first = answer(place.layout, asked.index, given)
    if first is not None and (before := decided(place.layout, asked, now)) is not None:
        raise _decided(place, record, asked.step, before)
    word = "approved" if verb == "approve" else "rejected"
    console.say(f"{word}: {asked.step} of {place.framework}/{place.run_id}: {' '.join(asked.message.split())}")
    console.say(f"a runner at work sees it at once or when its other runs have ended; else {_onward(record)}")
    return ExitCode.PASSED


def _asked(place: Place, record: RunRecord, step: str) -> Suspension:
    """Return the question that is meant."""
    choices = [one for one in record.run.steps if one.kind == "approval"]
    if step and step not in {text for one in choices for text in (one.id, str(one.index))}:
        names = [one.id for one in choices] or ["none"]
        raise unknown(f"approval of {place.run_id}", step, names, f"runner steps {place.run_id}")
    ended = {one.id: one for one in record.steps}
    if step:
        (planned,) = (one for one in choices if step in {one.id, str(one.index)})
        past = ended.get(planned.id)
        if past is not None and past.decision is not None:
            raise _decided(place, record, planned.id, past.decision)
        found = None if past is not None else _question(place, record, planned.index)
        if found is None:
            words = f"it ended as {past.outcome}" if past is not None else "it has not been asked"
            raise _not_waiting(place, record, f"{planned.id} of {place.run_id} does not wait: {words}")
        return found
    waiting = [
        found for one in choices if one.id not in ended and (found := _question(place, record, one.index)) is not None
    ]
    return _only(place, record, waiting)


def _only(place: Place, record: RunRecord, waiting: Sequence[Suspension]) -> Suspension:
    """Return the only question nobody has decided on, or complain."""
    if len(waiting) == 1:
        return waiting[0]
    open_ones = [one for one in waiting if read_answer(place.layout, one.index) is None]
    if len(open_ones) == 1:
        return open_ones[0]
    if not waiting:
        raise _not_waiting(place, record, f"{place.run_id} does not wait for approval")
    names = ", ".join(one.step for one in open_ones or waiting)
    raise ConfigError(
        f"{len(open_ones or waiting)} steps of {place.run_id} wait for approval" if open_ones else "all is decided",
        why=names,
        hint=f"name one: {place.run_id}@{(open_ones or waiting)[0].step}" if open_ones else _onward(record),
    )


def _question(place: Place, record: RunRecord, index: int) -> Suspension | None:
    """Return what is asked at a step; nothing of a run that has ended."""
    if record.outcome is not None:
        return None
    return next((one for one in record.suspended if one.index == index), None) or posted(place.layout, index)


def _not_waiting(place: Place, record: RunRecord, what: str) -> ConfigError:
    state = f"the run has ended: {record.outcome.replace('_', ' ')}" if record.outcome else "the run is not finished"
    decisions = [f"{one.id} was {decision_words(one.decision)}" for one in record.steps if one.decision is not None]
    return ConfigError(what, why="; ".join([state, *decisions]), hint=f"runner steps {place.run_id}")


def _onward(record: RunRecord) -> str:
    """Say how the run's own experiment goes on; `runner go` alone would be the default one."""
    return f"continue: runner go {record.run.experiment}"


def _decided(place: Place, record: RunRecord, step: str, decision: DecisionRecord) -> ConfigError:
    return ConfigError(
        f"{step} of {place.run_id} has been decided",
        why=f"it was {decision_words(decision)}",
        hint=f"nobody can decide twice; {_onward(record)}",
    )
