"""Read what processes in a container wrote into /out. They may have written anything: nothing here trusts or raises."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from runner.names import ANSWERS_LOG, RESULT_FILE, SHIM_REPORT

_MOST_BYTES = 1024 * 1024
_MOST_TEXT = 2000
"""Characters of one text that are kept."""
_MOST_PHASES = 1000
_MOST_QUESTIONS = 1000
_MOST_COUNT = 2**63 - 1
_MOST_SECONDS = 1e9
"""Some thirty years: what is beyond is no measurement."""
_LATEST = 1e11
"""Some three thousand years after the epoch, in seconds."""
_HIGHEST_SIGNAL = 64
_HIGHEST_EXIT_CODE = 255
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def _number(value: object, most: float) -> float | int | None:
    """Return a finite number within 0..most; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # Compared first: a Python integer may be too large for any float.
    return value if 0 <= value <= most and math.isfinite(value) else None


def _whole(value: object, most: int = _MOST_COUNT) -> int | None:
    number = _number(value, most)
    return int(number) if number is not None and int(number) == number else None


def _text(value: object) -> str:
    return value[:_MOST_TEXT].encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""


def _phases(value: object) -> list[object]:
    return [one for one in value[:_MOST_PHASES] if isinstance(one, dict)] if isinstance(value, list) else []


Count = Annotated[int | None, BeforeValidator(_whole)]
"""A whole number from 0; anything else counts as not told."""
Dropped = Annotated[int, BeforeValidator(lambda value: _whole(value) or 0)]
"""A whole number from 0; anything else counts as 0, because nothing dropped is the rule."""
Duration = Annotated[float | None, BeforeValidator(lambda value: _number(value, _MOST_SECONDS))]
"""Finite seconds from 0; anything else counts as not told."""
Moment = Annotated[float | None, BeforeValidator(lambda value: _number(value, _LATEST))]
"""Seconds since the epoch; anything else counts as not told."""
ExitStatus = Annotated[int | None, BeforeValidator(lambda value: _whole(value, _HIGHEST_EXIT_CODE))]
SignalNumber = Annotated[int | None, BeforeValidator(lambda value: _whole(value, _HIGHEST_SIGNAL) or None)]
Flag = Annotated[bool, BeforeValidator(lambda value: value is True)]
Text = Annotated[str, BeforeValidator(_text)]


class Told(BaseModel):
    """Settings of what a container tells: unknown keys are ignored, and a value that cannot be is as good as absent."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ShimReport(Told):
    """What the entry shim says about the step it ran."""

    version: Count = None
    exit_code: ExitStatus = None
    signal: SignalNumber = None
    """Signal that ended the command; None if none did."""
    timed_out: Flag = False
    stopped: Flag = False
    """Whether the shim was told to end the step."""
    seconds: Duration = None
    stdout_bytes: Count = None
    """Bytes the step printed, the dropped ones included."""
    stderr_bytes: Count = None
    dropped_stdout: Dropped = 0
    dropped_stderr: Dropped = 0
    cpu_seconds: Duration = None
    """CPU time of the processes the shim reaped."""
    max_rss_bytes: Count = None
    """Peak memory of the largest single process, not of all together."""
    io_read_bytes: Count = None
    io_write_bytes: Count = None
    killed_processes: Count = None
    """Processes the step left running."""
    error: Text = ""
    """Why the command could not be started; empty if it was."""


class ReportedPhase(Told):
    """A phase of a step, in the framework's words."""

    name: Text = ""
    seconds: Duration = None
    exit_code: ExitStatus = None
    detail: Text = ""
    started_at: Moment = None
    """Seconds since the epoch."""


class StepResult(Told):
    """`/out/result.json`: what a framework says about the step it performed."""

    version: Count = None
    message: Text = ""
    phases: Annotated[tuple[ReportedPhase, ...], BeforeValidator(_phases)] = ()


class AskedQuestion(Told):
    """A line of `/out/.answers.jsonl`: what a framework asked, and which prepared answer it says it got."""

    question: Text = ""
    answer_sha256: Text = ""


_T = TypeVar("_T", bound=Told)


def read_shim_report(out: Path) -> ShimReport | None:
    """Return the entry shim's report; None if there is none that can be used."""
    return _read(out / SHIM_REPORT, ShimReport)[0]


def read_result(out: Path) -> StepResult | None:
    """Return what the framework reported; None if there is nothing that can be used."""
    return _read(out / RESULT_FILE, StepResult)[0]


def read_questions(out: Path) -> tuple[tuple[AskedQuestion, ...], str]:
    """Return what a step asked, and why some of it cannot be used; empty if all of it can."""
    try:
        lines = _read_regular(out / ANSWERS_LOG).splitlines()
    except FileNotFoundError:
        return (), ""
    except OSError as error:
        return (), f"{ANSWERS_LOG} {_explain(error)}"
    asked: list[AskedQuestion] = []
    bad = max(len(lines) - _MOST_QUESTIONS, 0)
    for line in lines[:_MOST_QUESTIONS]:
        try:
            asked.append(_parse(line, AskedQuestion))
        except (RecursionError, ValueError):
            bad += 1
    return tuple(asked), f"{ANSWERS_LOG} has {bad} lines that cannot be used" if bad else ""


def read_inside(root: Path, path: str, most: int) -> bytes:
    """Read a regular file below a folder that an untrusted program wrote; no link on the way is followed.

    Args:
        root: the folder.
        path: relative path.
        most: bytes it may have.

    Raises:
        OSError: if it is not there, leaves the folder, is no regular file, lies behind a link, or is too large.
    """
    *folders, name = [part for part in path.split("/") if part not in {"", "."}] or ["."]
    if ".." in (*folders, name):
        raise OSError("it leaves its folder")
    current = os.open(root, _FOLDER)
    try:
        for folder in folders:
            following = os.open(folder, _FOLDER | os.O_NOFOLLOW, dir_fd=current)
            os.close(current)
            current = following
        return _read_regular(name, most, current)
    finally:
        os.close(current)


def problems(out: Path) -> tuple[str, ...]:
    """Return a sentence for each of the two reports that exists and cannot be used."""
    found = (_read(out / SHIM_REPORT, ShimReport)[1], _read(out / RESULT_FILE, StepResult)[1])
    return tuple(problem for problem in found if problem)


def _read(path: Path, model: type[_T]) -> tuple[_T | None, str]:
    """Return the file's content, or why it cannot be used; neither if there is no file."""
    try:
        return _parse(_read_regular(path), model), ""
    except FileNotFoundError:
        return None, ""
    except (OSError, RecursionError, ValueError) as error:
        return None, f"{path.name} {_explain(error)}"


def _parse(data: bytes, model: type[_T]) -> _T:
    content: Any = json.loads(data)
    if not isinstance(content, dict):
        raise ValueError("it holds no object")  # noqa: TRY004  what is wrong is the file, not a type of ours
    return model.model_validate(content)


def _explain(error: OSError | RecursionError | ValueError) -> str:
    match error:
        case OSError():
            return f"cannot be read: {error.strerror or error}"
        case RecursionError():
            return "is nested too deeply"
        case ValidationError():
            return f"holds {error.error_count()} values that cannot be used"
        case _:
            return f"is not usable JSON: {error}"


def _read_regular(path: Path | str, most: int = _MOST_BYTES, folder: int | None = None) -> bytes:
    """Read a small regular file; a link is not followed, a FIFO neither opened for long nor a device touched."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(handle, "rb") as stream:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"it is a {stat.filemode(status.st_mode)[0]!r}, not a regular file")
        data = stream.read(most + 1)
    if len(data) > most:
        raise OSError(f"it has more than {most} bytes")
    return data
