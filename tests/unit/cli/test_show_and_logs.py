"""Looking at runs on disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.command_line import run

from runner.cli.finding import find_run, places
from runner.errors import ConfigError


def test_show_says_everything(output: Path) -> None:
    """A run's page names its outcome, reason, model, steps, attempts, notes and where its evidence is."""
    code, out, _ = run(output, "show", "crud-r1")
    assert code == 0
    for text in (
        "ghspec on crud, repetition 1: failed",
        "step course: exit code 3",
        "scripted model",
        "not reached",
        "cpu_seconds: no cgroup",
        "note: one folder was made readable",
        f"evidence    {output}/ghspec/crud-r1-0123456789",
        "runner logs ghspec/crud-r1-0123456789@course",
    ):
        assert text in out
    steps = re.findall(r"^ ?\d  (\w+) +(passed|failed|not reached) +(\S+ ?s?) ", out, re.MULTILINE)
    assert steps == [
        ("student", "passed", "12 s"),
        ("course", "failed", "\N{EN DASH} "),
        ("teacher", "not reached", "\N{EN DASH} "),
    ]


def test_unmeasured_numbers_are_no_noughts(output: Path) -> None:
    """What the metrics do not hold is a dash."""
    _, out, _ = run(output, "show", "crud-r1")
    assert "cpu \N{EN DASH}, peak memory \N{EN DASH}, artifact files" in out
    assert "tokens 1,234 in (\N{EN DASH} of them cached), \N{EN DASH} out (\N{EN DASH} of them reasoning)" in out
    assert "waiting for the provider \N{EN DASH}, cost \N{EN DASH}" in out


def test_show_json_is_pure(output: Path) -> None:
    """With --json stdout is one document with the record and the metrics as they are on disk."""
    _, out, err = run(output, "show", "crud-r1", "--json")
    shown = json.loads(out)
    directory = output / "ghspec" / "crud-r1-0123456789"
    assert shown["record"] == json.loads((directory / "metadata.json").read_text()) | {"host": shown["record"]["host"]}
    assert shown["metrics"]["tokens_in"] == 1234
    assert err == ""


def test_a_beginning_that_fits_two_runs(output: Path) -> None:
    """An ambiguous beginning names the runs it could be."""
    code, _, err = run(output, "show", "crud-r")
    assert code == 2
    assert err.startswith("error: crud-r could be 3 runs\n  ghspec/crud-r1-0123456789, ghspec/crud-r2")


def test_an_unknown_run_names_the_nearest(output: Path, tmp_path: Path) -> None:
    """A run that does not exist names runs that come near; an empty folder says that it is empty."""
    code, _, err = run(output, "show", "crut-r2-0123999999")
    assert (code, "nearest: crud-r2-0123999999" in err) == (2, True)
    assert "holds no runs" in run(tmp_path / "none", "show", "crud")[2]


def test_a_step_where_a_run_is_wanted(output: Path) -> None:
    """What names a step is answered with the run's name alone."""
    code, _, err = run(output, "show", "crud-r1@student")
    assert (code, err) == (
        2,
        "error: crud-r1@student is a step, and a run is wanted\n  -> leave out @student: crud-r1\n",
    )


def test_runs_are_found_by_framework_too(output: Path) -> None:
    """FRAMEWORK/ID works as does a path that ends so, and a wrong framework does not."""
    assert find_run(output, "ghspec/crud-r1").run_id == "crud-r1-0123456789"
    assert find_run(output, "runs/ghspec/crud-r2/").run_id == "crud-r2-0123999999"
    with pytest.raises(ConfigError):
        find_run(output, "other/crud-r1")


def test_superseded_runs_are_not_listed(output: Path) -> None:
    """Folders whose name begins with a dot hold no runs."""
    (output / ".superseded" / "ghspec" / "crud-r9").mkdir(parents=True)
    assert [one.framework for one in places(output)] == ["ghspec"] * 3


def test_an_unreadable_record_is_named(output: Path) -> None:
    """A damaged record ends with 6 and the name of the file."""
    path = output / "ghspec" / "crud-r1-0123456789" / "metadata.json"
    path.write_text('{"version": 1', encoding="utf-8")
    code, _, err = run(output, "show", "crud-r1")
    assert (code, f"error: {path}: cannot read the record" in err) == (6, True)
    path.write_text('{"version": 1, "outcome": "well"}', encoding="utf-8")
    assert "run: Field required, and " in run(output, "show", "crud-r1")[2]


def test_logs_keep_streams_apart_and_exact(output: Path) -> None:
    """Without a step every step's bytes come as they are, stdout to stdout, with headings on stderr."""
    code, out, err = run(output, "logs", "crud-r1")
    assert (code, out) == (0, "out 1\x1b[2J\nout 2\x1b[2J\n")
    assert err == "==> step 1 student: passed <==\nerr 1\n==> step 2 course: failed <==\nerr 2\n"


@pytest.mark.parametrize("step", ["course", "2"])
def test_logs_of_one_step_and_stream(output: Path, step: str) -> None:
    """A step is named or numbered, and one stream leaves the other out."""
    assert run(output, "logs", f"crud-r1@{step}", "--stream", "stdout", "-q") == (0, "out 2\x1b[2J\n", "")


def test_logs_of_an_unknown_step(output: Path) -> None:
    """A step that does not exist names the steps of the run."""
    code, _, err = run(output, "logs", "crud-r1@curse")
    assert (code, "choices: student, course, teacher" in err, "did you mean course?" in err) == (2, True, True)
