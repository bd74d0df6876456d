"""Quality and change in cells and words."""

from __future__ import annotations

import pytest

from runner.report.format import DASH, share
from runner.report.quality_words import changes_words, crud_cell, lines_cell, quality_words
from runner.report.step_lists import RunSteps, steps_table, steps_values
from runner.report.tables import Tone

STEP = {"step": "a", "index": 1, "wall_seconds": 2.0, "tokens_in": 1500, "lines_added": 12, "lines_removed": 3}


@pytest.mark.parametrize(
    ("value", "text"), [(None, DASH), (0, "0 %"), (1.0, "100 %"), (0.75, "75 %"), (0.999, "99.9 %"), (0.001, "0.1 %")]
)
def test_a_share_is_not_rounded_to_all_or_nothing(value: float | None, text: str) -> None:
    """Per cent without decimals, but where that would say all or nothing of what is neither."""
    assert share(value) == text


def test_effectiveness_is_coloured_by_what_it_says() -> None:
    """All is good, nothing bad, some a warning, and what was not measured no nought."""
    tones = [crud_cell({"crud_effectiveness": value}).tone for value in (1, 0.5, 0)]
    assert tones == [Tone.GOOD, Tone.WARN, Tone.BAD]
    assert crud_cell({}).text == DASH


def test_words_leave_out_what_was_not_measured() -> None:
    """Only what is known is said."""
    metrics = {"crud_effectiveness": 0.75, "tests_passed": None, "availability": 1, "files_added": 3, **STEP}
    assert quality_words(metrics) == "crud 75 %, available 100 %"
    assert changes_words(metrics) == "files 3 added; lines +12 -3"
    assert (quality_words({}), changes_words({}), lines_cell({"lines_added": 1}).text) == ("", "", DASH)


def test_steps_of_runs_are_one_table() -> None:
    """A row per step with its numbers; effectiveness is a column where any step has one; the scripted model is named."""
    runs = [
        RunSteps(run_id="r1", framework="x", model_label="scripted model", per_step=[STEP]),
        RunSteps(
            run_id="r2", framework="y", model_label="scripted model", per_step=[{**STEP, "crud_effectiveness": 1}]
        ),
    ]
    table = steps_table(runs)
    assert [column.title for column in table.columns][-1] == "crud"
    assert [[cell.text for cell in row][-1] for row in table.rows] == [DASH, "100 %"]
    assert [cell.text for cell in table.rows[0]][:6] == ["r1", "x", "1", "a", "2.0 s", "1,500"]
    assert any("scripted model" in note for note in table.notes)
    assert "crud" not in [column.title for column in steps_table(runs[:1]).columns]
    assert steps_values(runs)[1]["crud_effectiveness"] == 1
