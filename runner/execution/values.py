"""Values that steps take and give: what they are as bytes in a file, as what a template sees, and in the records.

A `file` is bytes as they are, `text` is UTF-8, and everything else is JSON with a line end after it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import RunnerError
from runner.evidence.atomic import write_bytes
from runner.evidence.layout import RunLayout
from runner.evidence.records import StepRecord, ValueRecord
from runner.evidence.untrusted import read_inside
from runner.plan.models import PlannedInput, PlannedStep, Run
from runner.spec.scenario import ValueType

MOST_BYTES: Mapping[ValueType, int] = {"file": 64 * 1024**2}
"""Largest value by type; every other type may have what `MOST_OTHER` says."""
MOST_OTHER = 1024**2
_SHOWN = 60
_PYTHON_TYPES: Mapping[ValueType, type | tuple[type, ...]] = {
    "text": str,
    "number": (int, float),
    "boolean": bool,
    "list": list,
    "object": dict,
    "json": object,
}


class Unusable(RunnerError):
    """A value is missing or not what it has to be; `what` becomes the reason of a step that failed."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """One value, as the bytes of its file."""

    name: str
    type: ValueType
    data: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def content(self) -> object:
        """Return it as templates see it.

        Raises:
            Unusable: if it is not what its type says.
        """
        return read_value(self.data, self.type, f"`{self.name}`")


@dataclass(frozen=True)
class Values:
    """Where the values of a run come from: the run itself, and the steps that have ended."""

    layout: RunLayout
    run: Run
    records: Mapping[str, StepRecord]
    """Steps that have ended, by id."""

    def given(self, step: str, output: str) -> Value | None:
        """Return a value that an earlier step gave; None if it gave none of that name.

        Raises:
            Unusable: if its kept copy is not what was recorded.
        """
        record = self.records.get(step)
        found = next((one for one in record.outputs if one.name == output), None) if record is not None else None
        if record is None or found is None:
            return None
        kind = _type_of(found.type)
        try:
            data = read_inside(self.layout.step(record.index).root, found.path, most_bytes(kind))
        except OSError as error:
            raise Unusable(f"the kept output `{output}` of step {step} cannot be read: {words_of(error)}") from error
        value = Value(name=output, type=kind, data=data)
        if value.sha256 != found.sha256:
            raise Unusable(f"the kept output `{output}` of step {step} is not what was recorded")
        return value


def most_bytes(kind: ValueType) -> int:
    """Return how large a value may be."""
    return MOST_BYTES.get(kind, MOST_OTHER)


def read_value(data: bytes, kind: ValueType, what: str) -> object:
    """Return what bytes mean.

    Args:
        data: the bytes.
        kind: what they have to be.
        what: how to name the value in a sentence.

    Raises:
        Unusable: if they are something else.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unusable(f"{what} is not UTF-8 from its byte {error.start + 1} on") from None
    if kind in {"text", "file"}:
        return text
    try:
        content: object = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{what} has to be {_a(kind)}, and is no JSON: {error} (it begins {text[:_SHOWN]!r})") from None
    return _checked(content, kind, what)


def make_value(name: str, content: object, kind: ValueType, what: str) -> Value:
    """Return a value from what it means.

    Raises:
        Unusable: if it is not of that type, cannot be written or is too large.
    """
    if isinstance(content, str) and kind in {"text", "file"}:
        text = content
    else:
        # Of a file nothing is asked: a value that is no text becomes the bytes that it has as JSON.
        text = _json(content if kind == "file" else _checked(content, kind, what), what) + "\n"
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise Unusable(f"{what} holds half a character, which UTF-8 cannot write") from None
    if len(data) > most_bytes(kind):
        raise Unusable(f"{what} has {len(data)} bytes; {_a(kind)} may have {most_bytes(kind)}")
    return Value(name=name, type=kind, data=data)


def inputs_of(step: PlannedStep, values: Values, workspace: Path | None) -> tuple[Value, ...]:
    """Return the values that a step takes.

    Args:
        step: the step.
        values: where they come from.
        workspace: the workspace as the step finds it; None if it sees none.

    Raises:
        Unusable: if one is missing or not what it has to be.
    """
    return tuple(_input(one, values, workspace) for one in step.inputs)


def keep_values(folder: Path, values: Iterable[Value], place: str) -> tuple[ValueRecord, ...]:
    """Write values as files of their names and return what the record says of them.

    Args:
        folder: where they go.
        values: the values.
        place: that folder relative to the step's.

    Raises:
        StorageError: if one cannot be written.
    """
    records = []
    for one in values:
        write_bytes(folder / one.name, one.data)
        records.append(
            ValueRecord(
                name=one.name, type=one.type, path=f"{place}/{one.name}", bytes=len(one.data), sha256=one.sha256
            )
        )
    return tuple(records)


def _input(one: PlannedInput, values: Values, workspace: Path | None) -> Value:
    what = f"input `{one.name}`"
    match one.source:
        case "step":
            return _from_step(one, values, what)
        case "steps":
            found = [values.given(step, one.output) for step in one.steps]
            return make_value(one.name, [value.content for value in found if value is not None], one.type, what)
        case "workspace":
            return _from_workspace(one, workspace, what)
        case "experiment":
            return make_value(one.name, _of_experiment(values.run)[one.experiment], one.type, what)
        case "value":
            return make_value(one.name, one.value, one.type, what)


def _from_step(one: PlannedInput, values: Values, what: str) -> Value:
    found = values.given(one.step, one.output)
    if found is None:
        raise Unusable(f"{what}: step {one.step} gave no `{one.output}`")
    return _as(one, found, what)


def _as(one: PlannedInput, found: Value, what: str) -> Value:
    """Return a value under an input's name, as what the input has to be."""
    if one.type in {"file", found.type}:
        return Value(name=one.name, type=one.type, data=found.data)
    return make_value(one.name, read_value(found.data, found.type, what), one.type, what)


def _from_workspace(one: PlannedInput, workspace: Path | None, what: str) -> Value:
    if workspace is None:
        raise Unusable(f"{what}: {one.workspace} is in the workspace, which this step does not see")
    try:
        data = read_inside(workspace, one.workspace, most_bytes(one.type))
    except OSError as error:
        raise Unusable(f"{what}: {one.workspace} in the workspace cannot be read: {words_of(error)}") from None
    if one.type != "file":
        read_value(data, one.type, what)
    return Value(name=one.name, type=one.type, data=data)


def _of_experiment(run: Run) -> Mapping[str, object]:
    return {
        "framework": run.framework.name,
        "scenario": run.scenario,
        "repetition": run.repetition,
        "seed": run.seed,
        "model": run.model.name if run.model is not None else "",
    }


def _checked(content: object, kind: ValueType, what: str) -> object:
    wanted = _PYTHON_TYPES[kind]
    # A boolean is an integer to Python, and not finite is what JSON cannot write.
    wrong = kind == "number" and (isinstance(content, bool) or not _is_finite(content))
    if wrong or not isinstance(content, wanted):
        raise Unusable(f"{what} has to be {_a(kind)}, not {_show(content)}")
    return content


def _is_finite(content: object) -> bool:
    return not isinstance(content, float) or math.isfinite(content)


def _json(content: object, what: str) -> str:
    try:
        return json.dumps(content, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{what} cannot be written as JSON: {error}") from None


def _show(content: object) -> str:
    text = json.dumps(content, ensure_ascii=True, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def words_of(error: OSError) -> str:
    """Return why a file cannot be read, in words for somebody who does not know how it was opened."""
    if error.errno == errno.ELOOP:
        return "it is a link, and links are not followed"
    return error.strerror or str(error)


def _a(kind: ValueType) -> str:
    return f"an {kind}" if kind == "object" else f"a {kind}"


def _type_of(name: str) -> ValueType:
    """Return a recorded type's name as one; an unknown one is bytes."""
    known: Sequence[ValueType] = ("text", "number", "boolean", "list", "object", "json")
    return next((one for one in known if one == name), "file")
