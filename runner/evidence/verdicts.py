"""Verdicts of checks: what a judging program told, read with no trust in it, and what is kept of it in `checks.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from runner.evidence.records import RecordModel
from runner.evidence.untrusted import Count, Duration, ExitStatus, Flag, Text, Told, read_inside
from runner.names import VERDICTS_FILE

MOST_BYTES = 32 * 1024 * 1024
"""Bytes of that file that are read: 2,000 assertions with all the evidence that each may have are below it."""
MOST_ASSERTIONS, MOST_FINDINGS, MOST_FIGURES, MOST_PACKAGES = 2000, 500, 200, 500
_MOST_EVIDENCE = 8 * 1024
"""Characters of one request or answer, as JSON, that are kept."""
_CUT = "cut"
"""Key of what is left of a request or answer that was too large."""
_MOST_TAIL = 4 * 1024
_MOST_NAME = 200
_DEEPEST = 32
_LARGEST = 2**63
"""Absolute value from which a figure is none."""

Said = Literal["passed", "failed", "unjudged"]


def _clean(value: object, depth: int = 0) -> object:
    """Return JSON that can be written: no half surrogates, and nothing that is nested more than 32 deep."""
    if depth > _DEEPEST:
        return "nested too deeply"
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case list():
            return [_clean(one, depth + 1) for one in value]
        case dict():
            return {str(_clean(str(key))): _clean(one, depth + 1) for key, one in value.items()}
        case _:
            return value


def _bounded(value: object) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    if value.keys() == {_CUT} and isinstance(value[_CUT], str) and len(value[_CUT]) <= _MOST_EVIDENCE:
        return value
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= _MOST_EVIDENCE else {_CUT: text[:_MOST_EVIDENCE]}


def _numbers(value: object) -> dict[str, float | int | None]:
    """Return the numbers of a mapping; of anything in it that is none, null."""
    if not isinstance(value, dict):
        return {}
    named = list(value.items())[:MOST_FIGURES]
    return {
        name[:_MOST_NAME]: one
        if isinstance(one, (int, float)) and not isinstance(one, bool) and abs(one) < _LARGEST
        else None
        for name, one in named
    }


def _versions(value: object) -> dict[str, str]:
    named = list(value.items())[:MOST_PACKAGES] if isinstance(value, dict) else []
    return {name[:_MOST_NAME]: one[:_MOST_NAME] for name, one in named if isinstance(one, str)}


def _texts(value: object) -> list[str]:
    return [one[:_MOST_TAIL] for one in value[:100] if isinstance(one, str)] if isinstance(value, list) else []


def _objects(most: int, needed: str) -> BeforeValidator:
    """Return what keeps, of a list, the first objects that have a text under a key."""

    def kept(value: object) -> list[object]:
        if not isinstance(value, list):
            return []
        return [one for one in value[:most] if isinstance(one, dict) and isinstance(one.get(needed), str)]

    return BeforeValidator(kept)


_OBJECT_OR_NONE = BeforeValidator(lambda value: value if isinstance(value, (dict, Told)) else None)
Json = Annotated[dict[str, Any] | None, BeforeValidator(_bounded)]
Tail = Annotated[str, BeforeValidator(lambda value: value[-_MOST_TAIL:] if isinstance(value, str) else "")]
Names = Annotated[str, BeforeValidator(lambda value: value[:_MOST_NAME] if isinstance(value, str) else "")]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Verdict = Annotated[
    Said, BeforeValidator(lambda value: value if value in ("passed", "failed", "unjudged") else "unjudged")
]
"""Never passed by default: what is no verdict is none."""


class Evidence(Told):
    """Why a verdict is what it is."""

    request: Json = Field(None, description="What was asked of the application: method, path, body.")
    response: Json = Field(None, description="What it answered: status, body.")
    log_tail: Tail = Field("", description="The last of what it printed.")


class Assertion(Told):
    """One thing that was found to be so, or not, or that could not be judged."""

    id: Names = Field(description="Name, unique in the check, like `student.create.valid`.")
    entity: Names = Field("", description="Entity it is about; empty for none.")
    operation: Names = Field(
        "", description="create, read, update, delete, list, relation, persist, start, import, ..."
    )
    valid: Annotated[bool | None, BeforeValidator(lambda value: value if isinstance(value, bool) else None)] = Field(
        None, description="Whether valid data was sent; null: it is not about data."
    )
    verdict: Verdict = Field("unjudged", description="passed, failed, or unjudged.")
    reason: Text = Field("", description="Why it failed or could not be judged.")
    evidence: Annotated[
        Evidence, BeforeValidator(lambda value: value if isinstance(value, (dict, Evidence)) else {})
    ] = Field(default_factory=Evidence, description="Request, answer, tail of the log.")


class Finding(Told):
    """Something that a tool remarked on in the code."""

    tool: Names = Field("", description="The tool, like ruff.")
    rule: Names = Field("", description="Its rule.")
    file: Text = Field("", description="File in the workspace.")
    line: Count = Field(None, description="1-based line.")
    message: Text = Field("", description="What it says.")


class Application(Told):
    """How the application was started."""

    kind: Names = Field("", description="fastapi, flask, django, streamlit, node, ...")
    command: Texts = Field((), description="Program and arguments.")
    rule: Text = Field("", description="Rule of detection by which it was found.")
    port: Count = Field(None, description="Port it listened on.")
    started_seconds: Duration = Field(None, description="From its start to its first good answer.")


class Judge(Told):
    """What judged."""

    version: Names = Field("", description="Version of the judging program.")
    python: Names = Field("", description="Version of its Python.")
    packages: Annotated[dict[str, str], BeforeValidator(_versions)] = Field(
        default_factory=dict, description="Versions of the libraries that applications found there."
    )


class Judgement(Told):
    """`/out/checks.json`: what a judging program told."""

    format: Count = None
    judge: Annotated[Judge | None, _OBJECT_OR_NONE] = None
    application: Annotated[Application | None, _OBJECT_OR_NONE] = None
    assertions: Annotated[tuple[Assertion, ...], _objects(MOST_ASSERTIONS, "id")] = ()
    figures: Annotated[dict[str, float | int | None], BeforeValidator(_numbers)] = Field(default_factory=dict)
    findings: Annotated[tuple[Finding, ...], _objects(MOST_FINDINGS, "message")] = ()


class CheckVerdict(RecordModel):
    """What one check said about the workspace after one step."""

    check: str = Field(description="Id of the check.")
    kind: str = Field(description="application, imports, tests, static or program.")
    step: str = Field(description="Step whose workspace was judged; empty for a folder from elsewhere.")
    index: int = Field(description="Position of that step; 0 for a folder from elsewhere.")
    version: str = Field(description="sha256 of the check and of the image that judged: equal ones can be compared.")
    required: bool = Field(False, description="Whether the run fails if an assertion does.")
    model_label: str = Field("", description="What the workspace was made with, like `scripted model`.")
    reason: str = Field("", description="Why nothing, or not everything, could be judged.")
    passed: int = Field(0, description="Assertions that passed.")
    failed: int = Field(0, description="Assertions that failed.")
    unjudged: int = Field(0, description="Assertions that could not be judged; of a check without any, 1.")
    image_id: str = Field("", description="Image that judged; empty: none did.")
    judged_at: str | None = Field(None, description="When it ended, UTC, ISO 8601.")
    seconds: float | None = Field(None, description="Wall time of its container.")
    exit_code: ExitStatus = Field(None, description="Exit code of the judging program.")
    timed_out: Flag = Field(False, description="Whether its deadline passed.")
    oom_killed: Flag = Field(False, description="Whether the kernel killed it for memory.")
    judge: Judge | None = Field(None, description="What judged.")
    application: Application | None = Field(None, description="How the application was started; null: it was not.")
    file: str = Field(
        "", description="In a run's index: where the whole verdict is; assertions and findings are there."
    )
    assertions: tuple[Assertion, ...] = Field((), description="Each thing that was judged.")
    figures: dict[str, float | int | None] = Field(default_factory=dict, description="Numbers, by name.")
    findings: tuple[Finding, ...] = Field((), description="What tools remarked on.")

    @property
    def verdict(self) -> Said:
        """The whole in a word: passed only if everything was judged and nothing failed."""
        if self.failed:
            return "failed"
        return "unjudged" if self.unjudged or not self.passed else "passed"


class Verdicts(RecordModel):
    """`checks.json`: verdicts by step and check."""

    version: Literal[1] = 1
    checks: tuple[CheckVerdict, ...] = Field((), description="Verdicts, by position of the step, then as written.")


class Tally(RecordModel):
    """Assertions of several verdicts, counted."""

    passed: int = 0
    failed: int = 0
    unjudged: int = 0

    @property
    def total(self) -> int:
        return self.passed + self.failed + self.unjudged

    def __str__(self) -> str:
        """Say it in a few words: `34 of 36, 1 failed, 1 not judged`."""
        parts = [f"{self.passed} of {self.total}"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.unjudged} not judged"] if self.unjudged else []
        return ", ".join(parts)


def tally(verdicts: Iterable[CheckVerdict]) -> Tally:
    """Return how many assertions passed, failed and could not be judged."""
    found = tuple(verdicts)
    return Tally(
        passed=sum(one.passed for one in found),
        failed=sum(one.failed for one in found),
        unjudged=sum(one.unjudged for one in found),
    )


def read_judgement(out: Path) -> tuple[Judgement | None, str]:
    """Read what a judging program wrote, whatever that is.

    Args:
        out: folder that was its /out.

    Returns:
        What can be used of it, and empty text; or None, and why nothing can be used.
    """
    try:
        return _parsed(read_inside(out, VERDICTS_FILE, MOST_BYTES)), ""
    except FileNotFoundError:
        return None, f"the check wrote no {VERDICTS_FILE}"
    except (OSError, RecursionError, ValueError) as error:
        return None, f"{VERDICTS_FILE} of the check cannot be used: {_explain(error)}"


def _parsed(data: bytes) -> Judgement:
    content = _clean(json.loads(data, parse_constant=lambda _: None))
    judgement = Judgement.model_validate(content if isinstance(content, dict) else {})
    if judgement.format != 1:
        raise ValueError("it is not of format 1")
    return judgement


def _explain(error: OSError | RecursionError | ValueError) -> str:
    match error:
        case OSError():
            return error.strerror or str(error)
        case RecursionError():
            return "it is nested too deeply"
        case ValidationError():
            return f"{error.error_count()} values are not what they have to be"
        case _:
            return str(error)[:_MOST_NAME]


def read_verdicts(path: Path) -> tuple[CheckVerdict, ...]:
    """Return the verdicts in a file of ours; none if there is none that can be read."""
    try:
        return Verdicts.model_validate_json(path.read_bytes()).checks
    except (OSError, ValueError):
        return ()
