"""Recordings: the calls of an earlier run, with their bodies, as they stand in its directory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from runner.errors import ConfigError, RunnerError, StorageError
from runner.gateway.bodies import FOLDER, body_path
from runner.gateway.calls import GONE, Call, read_calls
from runner.plan.digest import canonical, sha256
from runner.plan.models import Run

METADATA = "metadata.json"
CALLS = "llm/calls.jsonl"
BODIES = f"llm/{FOLDER}"
_WRONG_TOKEN = 401


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What was asked and answered in a run."""

    folder: Path
    """The run's directory, or a copy of its record and calls."""
    run: Run
    calls: tuple[Call, ...]
    """Calls that a provider answered, in the order of steps, attempts and arrival."""

    @property
    def bodies(self) -> Path:
        """Return the folder of its bodies."""
        return self.folder / BODIES

    @property
    def redact(self) -> tuple[str, ...]:
        """Return the patterns whose matches are missing in its bodies."""
        return self.run.model.redact if self.run.model is not None else ()

    def of(self, step: str, attempt: int) -> tuple[Call, ...]:
        """Return the calls of one attempt of a step, in the order of arrival; of its last one if there were fewer."""
        calls = [call for call in self.calls if call.step == step]
        last = max((call.attempt for call in calls), default=0)
        return tuple(call for call in calls if call.attempt == min(attempt, last))

    @property
    def steps(self) -> tuple[str, ...]:
        """Return the steps that called a model, in order."""
        return tuple(dict.fromkeys(call.step for call in self.calls))


def load_recording(folder: Path) -> Recording:
    """Read a run's calls and check that they can be replayed.

    Args:
        folder: a run's directory.

    Raises:
        ConfigError: if it is no run, talked to no model, or its bodies were not kept or are not there.
        StorageError: if its record or a line of its calls cannot be understood.
    """
    run = read_run(folder)
    if run.model is None:
        raise ConfigError(f"{run.id} talks to no model, so there is nothing to replay", where=str(folder))
    read = read_calls(folder / CALLS)
    if read.problems:
        raise StorageError(
            f"the recorded calls of {run.id} cannot be read: {read.problems[0]}", where=str(folder / CALLS)
        )
    answered = sorted((call for call in read.calls if was_answered(call)), key=_position)
    recording = Recording(folder=folder, run=run, calls=tuple(answered))
    for problem in _problems(recording):
        raise problem
    return recording


def read_run(folder: Path) -> Run:
    """Return the run that a directory holds, from its record.

    Raises:
        ConfigError: if it holds none.
        StorageError: if its record cannot be understood.
    """
    path = folder / METADATA
    try:
        return Run.model_validate(json.loads(path.read_bytes())["run"])
    except OSError as error:
        hint = "name a run's directory, its archive, or a folder of runs"
        raise ConfigError(f"{folder} is no run: {error.strerror}", where=str(path), hint=hint) from None
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError("the record of the run cannot be read", where=str(path), why=_first_line(error)) from None


def was_answered(call: Call) -> bool:
    """Tell whether a call had got as far as the provider and was answered, be it with an error.

    What the gateway itself turns away, for a wrong token, a wrong model or a budget, it turns away in a replay too.
    """
    reached = call.model_sent is not None or (
        call.format == "other" and (call.fault, call.status) != ("framework", _WRONG_TOKEN)
    )
    return call.status not in {0, GONE} and not call.exceeded and reached


def digest(recording: Recording) -> str:
    """Return the sha256 of what a recording answers, as hexadecimal digits: equal ones replay alike."""
    return sha256(
        canonical(
            [
                [call.step, call.attempt, call.n, call.status, call.request_sha256, call.response_sha256]
                for call in recording.calls
            ]
        )
    )


def _problems(recording: Recording) -> Iterator[RunnerError]:
    """Yield why the calls cannot be replayed, the first of each kind."""
    for call in recording.calls:
        name = f"call {call.n} of step {call.step} of {recording.run.id}"
        where = str(recording.folder / CALLS)
        if call.bodies != "full" or call.request_sha256 is None or call.response_sha256 is None:
            yield ConfigError(
                f"{name} cannot be replayed: its bodies were not kept (model.bodies was {call.bodies})",
                where=where,
                hint="record it again with model.bodies: full",
            )
            continue
        for one in (call.request_sha256, call.response_sha256):
            if not body_path(recording.bodies, one).is_file():
                yield ConfigError(
                    f"{name} cannot be replayed: a body is missing",
                    where=str(body_path(recording.bodies, one)),
                    hint="copy the run's directory whole, or take its archive",
                )


def _position(call: Call) -> tuple[int, int, int]:
    return call.index, call.attempt, call.n


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{type(error).__name__}: {error}".splitlines()[0]
