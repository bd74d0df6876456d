"""Verdicts as tables and in a few words."""

from __future__ import annotations

from typing import Any

from runner.evidence.verdicts import Assertion, CheckVerdict
from runner.report.check_tables import checks_table, checks_words, not_passed


def _verdict(**changes: Any) -> CheckVerdict:
    fields = {"check": "api", "kind": "application", "step": "a", "index": 1, "version": "0123456789abcdef"}
    return CheckVerdict.model_validate({**fields, **changes})


def test_words_count_assertions() -> None:
    """What passed of how many comes first; without checks there is nothing to say."""
    assert checks_words([]) == ""
    assert checks_words([_verdict(passed=2, failed=1), _verdict(passed=1)]) == "3 of 4, 1 failed"
    assert checks_words([_verdict(unjudged=1)]) == "0 of 1, 1 not judged"


def test_row_says_why() -> None:
    """A verdict is never shown as passed when something was not judged, and its reason stays on one line."""
    table = checks_table([_verdict(passed=2, unjudged=1, reason="it\nended", seconds=3.0), _verdict(passed=1)])
    texts = [[cell.text for cell in row] for row in table.rows]
    assert texts[0] == ["api", "a", "not judged", "2 of 3, 1 not judged", "3.0 s", "0123456789ab", "it ended"]
    assert texts[1][2:4] == ["passed", "1 of 1"]
    assert table.notes == ()


def test_scripted_model_is_said() -> None:
    """Verdicts on what the scripted model's answers built say so below the table."""
    table = checks_table([_verdict(model_label="scripted model (answers)")])
    assert table.notes == ("built with the scripted model (answers): this says nothing about a language model",)


def test_failures_are_named_first_and_not_without_end() -> None:
    """The first ten that did not pass are named, failures before the rest, and the others counted."""
    told = [Assertion(id="u", verdict="unjudged", reason="no route")]
    told += [Assertion(id=f"f{number}", verdict="failed") for number in range(10)]
    told += [Assertion(id="p", verdict="passed")]
    lines = list(not_passed([_verdict(assertions=tuple(told))]))
    assert lines[0] == "api after a: failed f0"
    assert lines[-1] == "api: and 1 more"
    assert len(lines) == 11
    (line,) = not_passed([_verdict(step="", assertions=tuple(told[:1]))])
    assert line == "api: not judged u: no route"
