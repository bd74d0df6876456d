"""Tables and sentences of verdicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from runner.evidence.verdicts import CheckVerdict, tally
from runner.report.format import duration
from runner.report.tables import Cell, Column, Table, Tone

_TONES = {"passed": Tone.GOOD, "failed": Tone.BAD, "unjudged": Tone.WARN}
_COLUMNS = (
    Column(title="check"),
    Column(title="after", rank=2),
    Column(title="verdict"),
    Column(title="assertions"),
    Column(title="time", right=True, rank=3),
    Column(title="version", rank=4),
    Column(title="reason", rank=1, folds=24),
)
_VERSION = 12
"""Digits of a version that are shown."""
_NAMED = 10
"""Assertions of a check that are named."""


def checks_words(verdicts: Sequence[CheckVerdict]) -> str:
    """Say in a few words what checks came to: `34 of 36, 1 failed, 1 not judged`; empty without any."""
    return str(tally(verdicts)) if verdicts else ""


def checks_table(verdicts: Iterable[CheckVerdict]) -> Table:
    """Return one row per check and step."""
    shown = tuple(verdicts)
    labels = sorted({one.model_label for one in shown if one.model_label.startswith("scripted")})
    return Table(
        columns=_COLUMNS,
        rows=tuple(_row(one) for one in shown),
        notes=tuple(f"built with the {label}: this says nothing about a language model" for label in labels),
    )


def not_passed(verdicts: Iterable[CheckVerdict]) -> Iterator[str]:
    """Yield the assertions that failed, then those that could not be judged, the first of each check."""
    for one in verdicts:
        wanted = [each for each in one.assertions if each.verdict == "failed"]
        wanted += [each for each in one.assertions if each.verdict == "unjudged"]
        for assertion in wanted[:_NAMED]:
            word = "failed" if assertion.verdict == "failed" else "not judged"
            after = f"{one.check} after {one.step}" if one.step else one.check
            yield f"{after}: {word} {assertion.id}{f': {assertion.reason}' if assertion.reason else ''}"
        if len(wanted) > _NAMED:
            yield f"{one.check}: and {len(wanted) - _NAMED:,} more"


def _row(one: CheckVerdict) -> tuple[Cell, ...]:
    return (
        Cell(one.check, Tone.STRONG),
        Cell(one.step or "-"),
        Cell("not judged" if one.verdict == "unjudged" else one.verdict, _TONES[one.verdict]),
        Cell(str(tally([one])) if one.passed or one.failed else "-"),
        Cell(duration(one.seconds)),
        Cell(one.version[:_VERSION], Tone.FAINT),
        Cell(" ".join(one.reason.split())),
    )
