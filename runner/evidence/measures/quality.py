"""How good what was built is, by the verdicts of checks: shares of what was judged, never of what was not.

An assertion that could not be judged takes no part in a share; the reading is partial then and says how many. Where
nothing was judged there is no share at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from runner.evidence.readings import Number, Reading, unmeasured
from runner.evidence.verdicts import Assertion, CheckVerdict, Said

CRUD: Mapping[str, tuple[str, ...]] = {
    "create": ("create",),
    "read": ("read", "list"),
    "update": ("update",),
    "delete": ("delete",),
}
"""The four operations, and the operations of assertions that each is made of: reading is one and all."""
_ENDPOINTS = frozenset({"create", "read", "list", "update", "delete", "relation"})
_MODEL = frozenset({"field", "relation", "persist"})
"""What the model promises about data that was taken; all that is said of data that must not be taken is added."""
_UP = frozenset({"start", "health"})
_DEFECTS = frozenset({"application", "imports", "program"})
"""Kinds of checks an assertion of which is a defect if it fails; what a framework's own tests say is not ours."""
_SOURCE = "checks"


@dataclass(frozen=True, kw_only=True)
class _Figure:
    """A number that a kind of check gives, or a share of two."""

    kind: str
    part: str
    whole: str = ""


_FIGURES = {
    "tests_passed": _Figure(kind="tests", part="tests_passed", whole="tests_total"),
    "imports_ok": _Figure(kind="imports", part="modules_imported", whole="modules"),
    "ruff_findings": _Figure(kind="static", part="ruff_findings"),
    "bandit_findings": _Figure(kind="static", part="bandit_findings"),
    "complexity": _Figure(kind="static", part="complexity_mean"),
}


def quality(verdicts: Sequence[CheckVerdict], index: int) -> Mapping[str, Reading]:
    """Return what the checks say about the workspace after one step.

    Args:
        verdicts: of all steps of a run; of each check and step one.
        index: position of the step.

    Returns:
        crud_effectiveness, endpoint_success, model_correctness, zero_defect, availability, carry_forward, tests_passed,
        imports_ok, ruff_findings, bandit_findings and complexity.
    """
    own = [one for one in verdicts if one.index == index]
    shares: Mapping[str, Callable[[Sequence[Assertion]], dict[str, list[Said]]]] = {
        "crud_effectiveness": operations,
        "endpoint_success": lambda found: _each(one for one in found if one.valid and one.operation in _ENDPOINTS),
        "model_correctness": lambda found: _each(one for one in found if _about_model(one)),
        "availability": _up,
    }
    found = {name: _share(own, choose) for name, choose in shares.items()}
    found |= {name: _figure(own, one) for name, one in _FIGURES.items()}
    return found | {"zero_defect": _zero_defect(own), "carry_forward": carry_forward(verdicts, index)}


def not_due(kinds: str) -> str:
    """Return the reason of what no check was to judge after a step."""
    return f"no check of kind {kinds} judged the workspace after this step"


def is_due(reading: Reading) -> bool:
    """Tell whether some check was to judge that after the step, whatever it came to."""
    return not (reading.value is None and reading.reason.startswith("no check of kind"))


def operations(assertions: Iterable[Assertion]) -> dict[str, list[Said]]:
    """Return what was said of each entity's four operations with valid data, by `<entity>.<operation>`."""
    found: dict[str, list[Said]] = {}
    kept = [one for one in assertions if one.valid and one.entity]
    for entity in dict.fromkeys(one.entity for one in kept):
        for name, made_of in CRUD.items():
            own = [one.verdict for one in kept if one.entity == entity and one.operation in made_of]
            found[f"{entity}.{name}"] = own or ["unjudged"]
    return found


def carry_forward(verdicts: Sequence[CheckVerdict], index: int) -> Reading:
    """Return the share of entities that worked after an earlier step and still work after this one.

    An entity works that can be created and read with valid data.
    """
    own = _of("application", [one for one in verdicts if one.index == index])
    if not own:
        return unmeasured(not_due("application"))
    before: set[str] = set()
    for earlier in {one.index for one in verdicts if one.index < index}:
        found = working(_of("application", [one for one in verdicts if one.index == earlier]))
        before |= {name for name, said in found.items() if said == "passed"}
    if not before:
        return unmeasured("no entity had worked after an earlier step that was judged")
    now = working(own)
    return _reading([now.get(name, "unjudged") for name in sorted(before)], own)


def working(verdicts: Sequence[CheckVerdict]) -> dict[str, Said]:
    """Return of each entity whether it can be created and read."""
    found = operations(_assertions(verdicts))
    entities = dict.fromkeys(name.rpartition(".")[0] for name in found)
    return {name: _all([*found[f"{name}.create"], *found[f"{name}.read"]]) for name in entities}


def _share(own: Sequence[CheckVerdict], choose: Callable[[Sequence[Assertion]], dict[str, list[Said]]]) -> Reading:
    verdicts = _of("application", own)
    if not verdicts:
        return unmeasured(not_due("application"))
    return _reading([_all(said) for said in choose(_assertions(verdicts)).values()], verdicts)


def _reading(said: Sequence[Said], verdicts: Sequence[CheckVerdict]) -> Reading:
    """Return the share of what passed among what was judged."""
    judged = [one for one in said if one != "unjudged"]
    if not judged:
        return unmeasured(_why(verdicts) or "the check says nothing about it")
    value = judged.count("passed") / len(judged)
    if len(judged) == len(said):
        return Reading(value=value, source=_SOURCE, status="derived")
    words = f"{len(said) - len(judged)} of {len(said)} not judged"
    return Reading(value=value, source=_SOURCE, exact=False, status="partial", reason=words)


def _zero_defect(own: Sequence[CheckVerdict]) -> Reading:
    """Return 1 if no assertion failed and each was judged, 0 if one failed; else null: nobody knows."""
    verdicts = [one for one in own if one.kind in _DEFECTS]
    if not verdicts:
        return unmeasured(not_due(", ".join(sorted(_DEFECTS))))
    failed = [f"{one.check}: {said.id}" for one in verdicts for said in one.assertions if said.verdict == "failed"]
    if failed or any(one.failed for one in verdicts):
        return Reading(value=0, source=_SOURCE, status="derived", reason=f"failed: {failed[0]}" if failed else "")
    left = sum(one.unjudged for one in verdicts)
    if left or not any(one.passed for one in verdicts):
        why = _why(verdicts)
        return unmeasured(f"nothing failed, but {left} not judged{f': {why}' if why else ''}")
    return Reading(value=1, source=_SOURCE, status="derived")


def _figure(own: Sequence[CheckVerdict], wanted: _Figure) -> Reading:
    verdicts = _of(wanted.kind, own)
    if not verdicts:
        return unmeasured(not_due(wanted.kind))
    part, whole = _sum(verdicts, wanted.part), _sum(verdicts, wanted.whole) if wanted.whole else 1
    if part is None or whole is None:
        return unmeasured(_why(verdicts) or f"the check gives no number {wanted.part}")
    if not whole:
        return unmeasured(_why(verdicts) or "there was none to judge")
    if part > whole and wanted.whole:
        return unmeasured(f"the check says {part} of {whole}")
    if not wanted.whole:
        return Reading(value=part, source=_SOURCE)
    return Reading(value=part / whole, source=_SOURCE, status="derived")


def _sum(verdicts: Sequence[CheckVerdict], name: str) -> Number | None:
    values = [one.figures.get(name) for one in verdicts]
    known = [one for one in values if one is not None and one >= 0]
    return sum(known) if len(known) == len(values) else None


def _of(kind: str, verdicts: Iterable[CheckVerdict]) -> list[CheckVerdict]:
    return [one for one in verdicts if one.kind == kind]


def _assertions(verdicts: Iterable[CheckVerdict]) -> list[Assertion]:
    return [said for one in verdicts for said in one.assertions]


def _each(found: Iterable[Assertion]) -> dict[str, list[Said]]:
    return {f"{number} {one.id}": [one.verdict] for number, one in enumerate(found)}


def _about_model(one: Assertion) -> bool:
    return bool(one.entity) and (one.operation in _MODEL or one.valid is False)


def _up(found: Sequence[Assertion]) -> dict[str, list[Said]]:
    """Return what was said of the application's start, as one: it is there or it is not."""
    return {"up": [one.verdict for one in found if one.operation in _UP and not one.entity] or ["unjudged"]}


def _all(said: Sequence[Said]) -> Said:
    """Return what several assertions come to: failed as soon as one is, passed only if all are."""
    if "failed" in said:
        return "failed"
    return "passed" if said and all(one == "passed" for one in said) else "unjudged"


def _why(verdicts: Iterable[CheckVerdict]) -> str:
    """Return why something was not judged: the check's own reason, else that of its first such assertion."""
    own = next((one.reason for one in verdicts if one.reason), "")
    told = (said.reason for one in verdicts for said in one.assertions if said.verdict == "unjudged" and said.reason)
    return own or next(told, "")
