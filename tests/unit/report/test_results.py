"""The result table as a value."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.report.format import DASH
from runner.report.results import REPLAY_NOTE, SCRIPTED_NOTE, RunFacts, result_table, result_values
from runner.report.tables import Tone, fit


def facts(
    framework: str = "mini", scenario: str = "crud", outcome: str | None = "passed", **metrics: float | None
) -> RunFacts:
    """Return the facts of a run two of whose three steps were performed."""
    return RunFacts(
        run_id=f"{scenario}-r1-0123456789",
        framework=framework,
        scenario=scenario,
        repetition=1,
        outcome=outcome,
        reason="",
        model_label="scripted model",
        metrics={"steps_total": 3, "steps_performed": 2, **metrics},
    )


def cells(runs: list[RunFacts], row: int = 0) -> dict[str, str]:
    """Return the texts of one row by column title."""
    table = result_table(runs)
    return {column.title: cell.text for column, cell in zip(table.columns, table.rows[row], strict=True)}


def test_one_row_per_framework_and_scenario() -> None:
    """Rows appear in the order in which their first runs do."""
    table = result_table([facts("b"), facts("a"), facts("b"), facts("b", "hello")])
    assert [(row[0].text, row[1].text) for row in table.rows] == [("b", "crud"), ("a", "crud"), ("b", "hello")]


def test_a_fork_is_no_repetition() -> None:
    """A run that went on from another one has a row of its own: it did only a part of the steps."""
    fork = replace(facts(outcome="failed", wall_seconds=1), forked_from="crud-r1-9876543210@student")
    table = result_table([facts(wall_seconds=60), fork, replace(fork, run_id="crud-r1-1111111111")])
    assert [[cell.text for cell in row[:3]] for row in table.rows] == [
        ["mini", "crud", "1/1"],
        ["mini", "crud (fork)", "0/1"],
        ["mini", "crud (fork)", "0/1"],
    ]
    assert cells([facts(wall_seconds=60), fork])["wall"] == "1m00s"
    assert [one["forked_from"] for one in result_values([facts(), fork])] == ["", "crud-r1-9876543210@student"]


def test_medians_per_run_and_per_step() -> None:
    """Numbers are medians over the runs, and per step where the column says so."""
    row = cells([facts(tokens_in=value, wall_seconds=value / 100) for value in (100, 200, 900)])
    assert (row["tokens in"], row["in/step"], row["wall"]) == ("200", "100", "2.0 s")


def test_unmeasured_is_no_nought() -> None:
    """A metric that no run has is a dash with its reason below; one that some lack is marked."""
    runs = [facts(tokens_in=100, tokens_out=0), facts(tokens_in=None, tokens_out=0)]
    row = cells(runs)
    assert (row["tokens in"], row["out"], row["cost"]) == ("100*", "0", DASH)
    notes = result_table(runs, {"cost_usd": "scripted model"}).notes
    assert "* tokens of 1 not measured" in notes
    assert f"{DASH} cost not measured: scripted model" in notes


@pytest.mark.parametrize("outcome", ["broken", "cancelled", "skipped"])
def test_what_says_nothing_about_a_framework_is_in_no_median(outcome: str) -> None:
    """Runs that broke or were stopped are counted and named, and no number is of them; failed ones are in."""
    runs = [
        facts(wall_seconds=10, tokens_in=100, tokens_out=10, crud_effectiveness=1.0),
        facts(outcome="failed", wall_seconds=30, tokens_in=300, tokens_out=30, crud_effectiveness=0.5),
        facts(outcome=outcome, wall_seconds=9999, tokens_out=0, crud_effectiveness=0.0),
    ]
    row = cells(runs)
    assert (row["passed"], row["wall"], row["tokens in"], row["out/step"]) == ("1/3", "20 s", "200", "10")
    assert row["crud"] == cells(runs[:2])["crud"]
    notes = result_table(runs).notes
    assert f"not in the medians: 1 {outcome}, which says nothing about a framework" in notes
    assert not any("tokens" in note for note in notes[1:] if "not measured" in note)
    assert not any("medians:" in note for note in result_table(runs[:2]).notes)


def test_without_a_run_that_says_something_there_are_no_numbers() -> None:
    """A row of nothing but broken runs has dashes, and no column for what was judged of them."""
    row = cells([facts(outcome="broken", wall_seconds=1, crud_effectiveness=1.0)])
    assert (row["passed"], row["otherwise"], row["wall"], "crud" in row) == ("0/1", "1 broken", DASH, False)


def test_what_did_not_pass_is_named() -> None:
    """Failed and broken are told apart, and an unfinished run is no failure."""
    row = cells([facts(), facts(outcome="timed_out"), facts(outcome="broken"), facts(outcome=None)])
    assert (row["passed"], row["otherwise"]) == ("1/4", "1 broken, 1 timed out, 1 unfinished")


@pytest.mark.parametrize(
    ("label", "notes"),
    [
        ("openai/gpt", []),
        ("scripted model", [SCRIPTED_NOTE]),
        ("replay of gpt", [REPLAY_NOTE]),
        ("replay of scripted model", [SCRIPTED_NOTE, REPLAY_NOTE]),
    ],
)
def test_answers_of_no_model_are_always_said_to_be(label: str, notes: list[str]) -> None:
    """A table of prepared or replayed answers says so below it."""
    table = result_table(
        [replace(facts(tokens_in=1, cpu_seconds=1, peak_memory_bytes=1, cost_usd=1), model_label=label)]
    )
    assert list(table.notes[1:]) == notes


def test_the_model_is_named() -> None:
    """The table says which model the numbers stand for."""
    assert result_table([facts()]).title == "model: scripted model"
    assert result_table([]).title == ""


def test_a_narrow_terminal_loses_the_least_important_columns() -> None:
    """Columns of the highest rank go first; those of rank 0 stay however narrow it is."""
    table = result_table([facts(tokens_in=100)])
    fitted, left_out = fit(table, 80)
    assert [column.title for column in fitted.columns][:3] == ["framework", "scenario", "passed"]
    assert left_out == ("cpu", "peak memory", "cost")
    assert [column.title for column in fit(table, 1)[0].columns] == ["framework", "scenario", "passed"]
    assert fit(table, 1000) == (table, ())


def test_tones_follow_outcomes() -> None:
    """A row in which everything passed is good, any other bad."""
    assert result_table([facts()]).rows[0][2].tone is Tone.GOOD
    assert result_table([facts(outcome="failed")]).rows[0][2].tone is Tone.BAD


def test_waiting_is_not_unfinished() -> None:
    """A run that waits for a person is counted as waiting, and takes part in no median."""
    waiting = replace(facts(outcome=None, wall_seconds=99.0), waits_for=("release",))
    row = cells([facts(wall_seconds=2.0), waiting])
    assert (row["passed"], row["otherwise"], row["wall"]) == ("1/2", "1 waiting", "2.0 s")
    assert [one["waits_for"] for one in result_values([waiting])] == [["release"]]
