"""The index of a run's verdicts: the newest of each check after each step, counted, and where the whole of it is."""

from __future__ import annotations

from collections.abc import Iterable

from runner.evidence.atomic import write_json
from runner.evidence.layout import RunLayout
from runner.evidence.verdicts import CheckVerdict, Verdicts, read_verdicts


def keep_verdict(kept: RunLayout, verdict: CheckVerdict) -> None:
    """Write a verdict whole, beside those of other checks of the same step.

    Args:
        kept: where: the run's own layout, or one below it.
        verdict: on the workspace after a step of the run.

    Raises:
        StorageError: if it cannot be written.
    """
    file = kept.step(verdict.index).checks
    others = [one for one in read_verdicts(file) if one.check != verdict.check]
    write_json(file, Verdicts(checks=(*others, verdict)))


def index_verdicts(layout: RunLayout, kept: RunLayout, verdicts: Iterable[CheckVerdict]) -> None:
    """Put verdicts into a run's index, in the place of older ones of the same check and step.

    One that says nothing, because nothing judged (a check that was stopped or could not be performed), does not take the
    place of one that judged: what was known stays known.

    Args:
        layout: the run.
        kept: where the verdicts are whole.
        verdicts: the verdicts.

    Raises:
        StorageError: if it cannot be written.
    """
    index = {(one.index, one.check): one for one in read_verdicts(layout.checks)}
    for one in verdicts:
        older = index.get((one.index, one.check))
        if older is not None and _judged(older) and not _judged(one):
            continue
        file = str(kept.step(one.index).checks.relative_to(layout.root))
        index[one.index, one.check] = one.model_copy(update={"file": file, "assertions": (), "findings": ()})
    ordered = sorted(index.values(), key=lambda one: one.index)
    write_json(layout.checks, Verdicts(checks=tuple(ordered)))


def whole_verdicts(layout: RunLayout) -> tuple[CheckVerdict, ...]:
    """Return the newest verdict of each check after each step, with everything in it that can still be read."""
    return tuple(_whole(layout, one) for one in read_verdicts(layout.checks))


def _judged(verdict: CheckVerdict) -> bool:
    """Tell whether something judged, whatever it came to: a check whose container came to no end has no exit code."""
    return bool(verdict.passed or verdict.failed or verdict.exit_code is not None)


def _whole(layout: RunLayout, short: CheckVerdict) -> CheckVerdict:
    found = read_verdicts(layout.root / short.file) if short.file and ".." not in short.file.split("/") else ()
    return next((one for one in found if one.check == short.check and one.version == short.version), short)
