"""What a judging program tells, read without trust, and the verdicts that are kept of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.evidence.judged import index_verdicts, keep_verdict, whole_verdicts
from runner.evidence.layout import RunLayout
from runner.evidence.verdicts import (
    MOST_ASSERTIONS,
    MOST_BYTES,
    Assertion,
    CheckVerdict,
    Judgement,
    Verdicts,
    read_judgement,
    read_verdicts,
    tally,
)
from runner.names import VERDICTS_FILE


def _told(folder: Path, **parts: Any) -> Judgement:
    (folder / VERDICTS_FILE).write_text(json.dumps({"format": 1, **parts}))
    judgement, problem = read_judgement(folder)
    assert judgement is not None, problem
    return judgement


def _verdict(**changes: Any) -> CheckVerdict:
    return CheckVerdict.model_validate(
        {"check": "api", "kind": "application", "step": "a", "index": 1, "version": "1", **changes}
    )


def test_verdicts_are_passed_only_if_they_say_so(tmp_path: Path) -> None:
    """A verdict that is no verdict is unjudged, and one without an id is none at all."""
    said = [{"id": str(one), "verdict": one} for one in ("passed", "failed", "PASSED", True, None, ["passed"], 1)]
    told = _told(tmp_path, assertions=[*said, {"id": "absent"}, {"verdict": "passed"}, "passed"])
    assert [one.verdict for one in told.assertions] == ["passed", "failed", *["unjudged"] * 6]


def test_everything_is_bounded(tmp_path: Path) -> None:
    """Long texts, requests, lists and numbers are cut or left out; nothing that is told makes a record grow without end."""
    evidence = {"request": {"body": "x" * 100_000}, "response": {"status": 200}, "log_tail": "y" * 100_000 + "end"}
    one = {"id": "i" * 9999, "reason": "r" * 9999, "evidence": evidence}
    told = _told(
        tmp_path,
        assertions=[one] + [{"id": "a"}] * (MOST_ASSERTIONS + 5),
        figures={"n": 3, "f": 0.5, "t": True, "s": "3", "big": 10**30, "k" * 9999: 1},
        findings=[{"message": "m", "line": -3, "file": 5}] * 600,
    )
    first = told.assertions[0]
    assert len(told.assertions) == MOST_ASSERTIONS
    assert (len(first.id), len(first.reason)) == (200, 2000)
    assert first.evidence.request is not None
    assert len(first.evidence.request["cut"]) == 8192
    assert first.evidence.response == {"status": 200}
    assert first.evidence.log_tail.endswith("end")
    assert len(first.evidence.log_tail) == 4096
    assert {key[:3]: one for key, one in told.figures.items()} == {
        "n": 3, "f": 0.5, "t": None, "s": None, "big": None, "kkk": 1
    }  # fmt: skip
    assert len(told.findings) == 500
    assert (told.findings[0].line, told.findings[0].file) == (None, "")


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_whatever_is_told_can_be_kept(told: object) -> None:
    """Any JSON in any place is read without an error, and what is kept of it reads back as it was."""
    data = {
        "format": 1,
        **dict.fromkeys(("judge", "application", "assertions", "figures", "findings"), told),
    }
    odd = {
        "format": 1,
        "assertions": [{"id": "x", "valid": told, "reason": told, "evidence": told}],
        "figures": {"f": told},
    }
    for one in (data, odd, {**odd, "assertions": [{"id": "x", "evidence": {"request": told, "log_tail": told}}]}):
        judgement = Judgement.model_validate(json.loads(json.dumps(one), parse_constant=lambda _: None))
        verdict = _verdict(assertions=judgement.assertions, figures=judgement.figures, findings=judgement.findings)
        assert CheckVerdict.model_validate_json(verdict.model_dump_json()) == verdict


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Expecting value"),
        (b"\xff", "codec can't decode"),
        (b"[]", "it is not of format 1"),
        (b'{"format": true}', "it is not of format 1"),
        (b'{"format": "1"}', "it is not of format 1"),
        (b"[" * 200_000, "it is nested too deeply"),
        (b" " * (MOST_BYTES + 1), "it has more than"),
    ],
)
def test_what_cannot_be_used_says_why(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file that is no verdict gives none, and the reason."""
    (tmp_path / VERDICTS_FILE).write_bytes(content)
    judgement, problem = read_judgement(tmp_path)
    assert judgement is None
    assert problem.startswith("checks.json of the check cannot be used: ")
    assert reason in problem


def test_no_file_and_no_regular_file(tmp_path: Path) -> None:
    """Neither a link is followed nor a FIFO waited for."""
    assert read_judgement(tmp_path) == (None, "the check wrote no checks.json")
    os.mkfifo(tmp_path / VERDICTS_FILE)
    assert "not a regular file" in read_judgement(tmp_path)[1]
    (tmp_path / VERDICTS_FILE).unlink()
    (tmp_path / "other").write_text('{"format": 1}')
    (tmp_path / VERDICTS_FILE).symlink_to("other")
    assert read_judgement(tmp_path)[0] is None


def test_deep_evidence_and_half_characters_can_be_written(tmp_path: Path) -> None:
    """Evidence that is nested more than can be read again is cut, and half a character becomes a mark."""
    deep: object = "bottom"
    for _ in range(100):
        deep = {"down": deep}
    told = _told(tmp_path, assertions=[{"id": "a\ud800", "evidence": {"request": deep}}])
    (one,) = told.assertions
    assert one.id == "a?"
    assert "nested too deeply" in json.dumps(one.evidence.request)
    Verdicts(checks=(_verdict(assertions=told.assertions),)).model_dump_json()


def test_a_verdict_in_a_word() -> None:
    """A failure decides; what was not judged, or nothing at all, is never passed."""
    words = [
        _verdict(passed=p, failed=f, unjudged=u).verdict for p, f, u in ((2, 0, 0), (2, 1, 1), (2, 0, 1), (0, 0, 0))
    ]
    assert words == ["passed", "failed", "unjudged", "unjudged"]
    assert str(tally([_verdict(passed=34, failed=1), _verdict(unjudged=1)])) == "34 of 36, 1 failed, 1 not judged"


def test_index_has_the_newest_of_each(tmp_path: Path) -> None:
    """The index names where each verdict is whole; a later one takes the place of an older one, which stays."""
    layout = RunLayout(tmp_path)
    told = (Assertion(id="a", verdict="passed"),)
    first = _verdict(passed=1, assertions=told)
    other = _verdict(check="own", step="b", index=2, passed=1)
    for one in (first, other):
        keep_verdict(layout, one)
    index_verdicts(layout, layout, [first, other])
    later, again = layout.judged_later("v2"), first.model_copy(update={"version": "2", "failed": 1})
    keep_verdict(later, again)
    index_verdicts(layout, later, [again])
    assert [(one.check, one.version, one.file) for one in read_verdicts(layout.checks)] == [
        ("api", "2", "checks/v2/steps/step_001/checks.json"),
        ("own", "1", "steps/step_002/checks.json"),
    ]
    assert read_verdicts(layout.checks)[0].assertions == ()
    assert whole_verdicts(layout)[0] == again
    assert read_verdicts(layout.step(1).checks) == (first,)


def test_index_leads_nowhere_else(tmp_path: Path) -> None:
    """A place that is gone, or outside of the run, leaves what the index itself says."""
    layout = RunLayout(tmp_path / "run")
    keep_verdict(RunLayout(tmp_path), _verdict(passed=9))
    short = _verdict(passed=1)
    index_verdicts(layout, layout, [short])
    (found,) = whole_verdicts(layout)
    assert (found.passed, found.assertions) == (1, ())
    text = layout.checks.read_text().replace("steps/step_001", "../steps/step_001")
    layout.checks.write_text(text)
    assert whole_verdicts(layout)[0].passed == 1
    layout.checks.write_text("{")
    assert whole_verdicts(layout) == ()
