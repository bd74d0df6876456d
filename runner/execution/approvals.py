"""Approvals: what a person is asked, and what was decided, as files in the run's directory.

`approvals/step_NNN.asked.json` is the question (a Suspension), `approvals/step_NNN.json` the decision (an Answer).
Whoever decides first has decided: the file is made by a link, which fails where there is one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from pydantic import Field

from runner.errors import StorageError
from runner.evidence.atomic import TEMPORARY_PREFIX, storage_error, sync_folder, write_json
from runner.evidence.layout import RunLayout
from runner.evidence.records import DecisionRecord, RecordModel, Suspension
from runner.execution.context import iso
from runner.plan.models import PlannedStep, Run


class Answer(RecordModel):
    """`approvals/step_NNN.json`: what a person decided."""

    version: Literal[1] = 1
    step: str = Field(description="The approval it is for.")
    decision: Literal["approve", "reject"]
    message: str = Field("", description="What the person said.")
    decided_at: str = Field(description="UTC, ISO 8601.")


def ask(run: Run, step: PlannedStep, message: str, now: float) -> Suspension:
    """Return the question that an approval puts to a person.

    Args:
        run: the run.
        step: a step of kind `approval`.
        message: what is asked, filled in.
        now: seconds since the epoch.

    Raises:
        ValueError: if the step is no approval.
    """
    if step.approval is None:
        raise ValueError(f"step {step.id} of {run.id} is no approval")
    timeout = step.approval.timeout
    return Suspension(
        step=step.id,
        index=step.index,
        message=message,
        asked_at=iso(now) or "",
        until=None if timeout is None else iso(now + timeout),
        default=step.approval.default,
    )


def post(layout: RunLayout, asked: Suspension) -> None:
    """Write a question down where `runner approve` looks for it.

    Raises:
        StorageError: if it cannot be written.
    """
    path = layout.question(asked.index)
    with _folder(layout, asked.index):
        write_json(path, asked)


def posted(layout: RunLayout, index: int) -> Suspension | None:
    """Return the question that was asked at a step; None if none was, or it cannot be read."""
    try:
        return Suspension.model_validate_json(layout.question(index).read_bytes())
    except (OSError, ValueError):
        return None


def decided(layout: RunLayout, suspension: Suspension, now: float) -> DecisionRecord | None:
    """Return what was decided on a question: by a person in time, or else by its default once its time is up.

    Args:
        layout: where the run is.
        suspension: the question.
        now: seconds since the epoch.

    Returns:
        None as long as there is still time.

    Raises:
        StorageError: if there is a decision that cannot be read; a guess would not be the person's.
    """
    answer = read_answer(layout, suspension.index)
    if answer is not None and not late(suspension, seconds(answer.decided_at)):
        return _record(suspension, answer.decision, "person", answer.message, answer.decided_at)
    if suspension.until is not None and late(suspension, now):
        return _record(suspension, suspension.default, "timeout", "", suspension.until)
    return None


def late(suspension: Suspension, when: float) -> bool:
    """Say whether a time, in seconds since the epoch, is past that of a question."""
    return suspension.until is not None and when >= seconds(suspension.until)


def answer(layout: RunLayout, index: int, given: Answer) -> Answer | None:
    """Write a person's decision down, unless there is one.

    Args:
        layout: where the run is.
        index: position of the approval.
        given: the decision.

    Returns:
        The decision that was there before; None if this one counts.

    Raises:
        StorageError: if it cannot be written, or the one before cannot be read.
    """
    path = layout.decision(index)
    with _folder(layout, index):
        draft = path.with_name(f"{TEMPORARY_PREFIX}{os.urandom(8).hex()}")
        write_json(draft, given)
        try:
            os.link(draft, path)
        except FileExistsError:
            return read_answer(layout, index)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(path.parent)
    return None


def read_answer(layout: RunLayout, index: int) -> Answer | None:
    """Return what a person decided at a step; None if nobody did.

    Raises:
        StorageError: if it cannot be read.
    """
    path = layout.decision(index)
    try:
        return Answer.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError(
            "a decision cannot be read", where=str(path), why=str(error).splitlines()[0], hint=f"mv {path} {path}.bad"
        ) from error


def seconds(time: str) -> float:
    """Return a time of a record, ISO 8601, as seconds since the epoch."""
    return datetime.fromisoformat(time).timestamp()


def _record(
    asked: Suspension, decision: Literal["approve", "reject"], by: Literal["person", "timeout"], message: str, at: str
) -> DecisionRecord:
    return DecisionRecord(
        decision=decision,
        by=by,
        message=message,
        message_sha256=hashlib.sha256(message.encode("utf-8", "surrogatepass")).hexdigest() if message else "",
        question=asked.message,
        asked_at=asked.asked_at,
        decided_at=at,
    )


@contextlib.contextmanager
def _folder(layout: RunLayout, index: int) -> Iterator[None]:
    """Make the folder of questions and decisions, and turn what the disk says into our words."""
    folder = layout.decision(index).parent
    try:
        folder.mkdir(exist_ok=True)
        yield
    except OSError as error:
        raise storage_error(f"cannot write into {folder}", error) from error
