"""What an attempt hands out besides the workspace: its outputs, and the questions it asked. Nothing of it is trusted."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from runner.evidence.atomic import storage_error
from runner.evidence.layout import StepLayout
from runner.evidence.records import AnswerUse
from runner.evidence.untrusted import read_inside, read_questions
from runner.execution.values import Unusable, Value, make_value, most_bytes, read_value, words_of
from runner.plan.models import PlannedOutput, PlannedStep

_FENCED = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*\n(.*?)^[ \t]*\1[ \t]*$", re.DOTALL | re.MULTILINE)
"""A block of code in Markdown (CommonMark, section 4.5), its content in the second group."""


def collect_outputs(
    step: PlannedStep, files: StepLayout, workspace: Path | None, *, dropped: bool
) -> tuple[Value, ...]:
    """Return the values that a step in a container gives, read once it has passed.

    Args:
        step: the step.
        files: where what it left is kept.
        workspace: its workspace; None if it saw none.
        dropped: whether some of its standard output was dropped.

    Raises:
        Unusable: if one is missing or not of its type.
    """
    return tuple(_checked(one, _read(one, files, workspace, dropped=dropped)) for one in step.outputs)


def answer_outputs(step: PlannedStep, answer: str) -> tuple[Value, ...]:
    """Return the values that a model's answer becomes; JSON may stand in a fenced block.

    Raises:
        Unusable: if it is not of the type it has to be.
    """
    return tuple(_from_answer(one, answer) for one in step.outputs if one.source == "answer")


def answer_uses(step: PlannedStep, files: StepLayout) -> tuple[tuple[AnswerUse, ...], tuple[str, ...]]:
    """Return the questions a step asked with what it was told, and a sentence for what cannot be believed of that."""
    asked, problem = read_questions(files.outputs)
    prepared = {hashlib.sha256(one.answer.encode()).hexdigest() for one in step.answers}
    uses = tuple(
        AnswerUse(question=one.question, answer_sha256=one.answer_sha256 if one.answer_sha256 in prepared else None)
        for one in asked
    )
    forged = sum(bool(one.answer_sha256) and one.answer_sha256 not in prepared for one in asked)
    notes = [problem] if problem else []
    if forged:
        notes.append(f"{forged} of its questions name an answer that the scenario does not have; taken as unanswered")
    return uses, tuple(notes)


def _read(one: PlannedOutput, files: StepLayout, workspace: Path | None, *, dropped: bool) -> bytes:
    most, what = most_bytes(one.type), _name(one)
    if one.source == "stdout":
        if dropped:
            raise Unusable(f"{what} is the standard output, and that was longer than limits.log")
        data = _read_log(files.log("stdout"), most, what)
        # As a shell's $(...) does it: `echo yes` is to be equal to yes.
        return data if one.type == "file" else data.rstrip(b"\r\n")
    if one.source == "workspace" and workspace is None:
        raise Unusable(f"{what} is in the workspace, which this step does not see")
    root, place = (workspace, "the workspace") if one.source == "workspace" else (files.outputs, "/out")
    try:
        return read_inside(root or files.outputs, one.path, most)
    except FileNotFoundError:
        raise Unusable(f"{what} is missing: there is no {one.path} in {place}") from None
    except OSError as error:
        raise Unusable(f"{what} cannot be taken: {one.path} in {place}: {words_of(error)}") from None


def _read_log(log: Path, most: int, what: str) -> bytes:
    try:
        with log.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as error:
        raise storage_error(f"cannot read {log}", error) from error
    if len(data) > most:
        raise Unusable(f"{what} has more than {most} bytes")
    return data


def _checked(one: PlannedOutput, data: bytes) -> Value:
    """Return a value in the form in which values are kept: JSON in one line, everything else as it is."""
    if one.type == "file":
        return Value(name=one.name, type=one.type, data=data)
    what = _name(one)
    return make_value(one.name, read_value(data, one.type, what), one.type, what)


def _from_answer(one: PlannedOutput, answer: str) -> Value:
    what = f"the model's answer, output `{one.name}`,"
    if one.type in {"text", "file"}:
        return make_value(one.name, answer, one.type, what)
    blocks = [found[2] for found in _FENCED.finditer(answer)]
    try:
        content = read_value(answer.encode("utf-8", "replace"), one.type, what)
    except Unusable:
        if not blocks:
            raise
        content = read_value(blocks[0].encode("utf-8", "replace"), one.type, what)
    return make_value(one.name, content, one.type, what)


def _name(one: PlannedOutput) -> str:
    return f"output `{one.name}`"
