"""The metrics of many runs, as tables and documents."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from runner.cli.main import main
from runner.engine.owner import current
from runner.evidence.records import METRIC_NAMES, RunRecord
from runner.ledger.store import ledger_path, open_ledger


@pytest.fixture
def ledger(output: Path) -> Path:
    """Return the folder of runs with a ledger: two runs have finished, one is under way."""
    with open_ledger(ledger_path(output)) as opened:
        for number, path in enumerate(sorted(output.glob("*/*/metadata.json"))):
            record = RunRecord.model_validate_json(path.read_bytes())
            run = record.run.model_copy(update={"digest": f"{number:064x}"})
            record = record.model_copy(update={"run": run})
            opened.register([run], output)
            lease = opened.lease(run, current())
            assert lease is not None
            if record.outcome is not None:
                opened.finish(lease, record, {})
    return output


def run(output: Path, *argv: str) -> tuple[int, str, str]:
    """Run `metrics` and return exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    code = main(["metrics", "--output", str(output), *argv], environment={}, out=out, err=err)
    return code, out.getvalue(), err.getvalue()


def test_a_row_per_finished_run(ledger: Path) -> None:
    """CSV with every metric; what was not measured is empty; a run under way is not there."""
    code, out, _ = run(ledger)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert [one["run"] for one in rows] == ["crud-r1-0123456789", "crud-r2-0123999999"]
    assert [*rows[0]][-len(METRIC_NAMES) :] == list(METRIC_NAMES)
    assert (rows[0]["tokens_in"], rows[0]["cpu_seconds"], rows[0]["outcome"]) == ("1234", "", "failed")


def test_names_of_the_earlier_experiment(ledger: Path) -> None:
    """The same runs under the other names, without what is not measured."""
    row = next(csv.DictReader(io.StringIO(run(ledger, "--names", "seeds")[1])))
    assert (row["TOK_IN"], row["T_WALL_seconds"], row["CRUDe"]) == ("1234", "60.0", "")
    shown = json.loads(run(ledger, "--names", "seeds", "--json")[1])
    assert shown[0]["aggregate_metrics"] == {"TOK_IN": 1234, "T_WALL_seconds": 60.0}
    assert shown[0]["framework"] == "ghspec"


def test_their_layout_as_a_folder(ledger: Path, tmp_path: Path) -> None:
    """A manifest that leads to a metrics.json of each run; a folder with something in it is refused."""
    target = tmp_path / "theirs"
    assert run(ledger, "--names", "seeds", "--folder", str(target))[0] == 0
    listed = json.loads((target / "manifest.json").read_text())["runs"]
    assert len(listed) == 2
    for one in listed:
        content = json.loads((target / one["path"] / "metrics.json").read_text())
        assert content["run_id"] == one["run_id"]
    code, _, err = run(ledger, "--names", "seeds", "--folder", str(target))
    assert (code, "there is something at" in err) == (2, True)


def test_their_layout_has_their_names(ledger: Path, tmp_path: Path) -> None:
    """A folder of our names would be read by nobody."""
    code, _, err = run(ledger, "--folder", str(tmp_path / "x"))
    assert (code, "--names seeds" in err) == (2, True)


def test_no_runs_are_a_header(tmp_path: Path) -> None:
    """Without a ledger there is nothing but the columns."""
    assert len(run(tmp_path)[1].splitlines()) == 1
    assert json.loads(run(tmp_path, "--json")[1]) == []


def test_steps_of_all_runs(ledger: Path) -> None:
    """`runs --steps` has a row for each step that has numbers."""
    out = io.StringIO()
    code = main(["runs", "--steps", "--output", str(ledger)], environment={}, out=out, err=io.StringIO())
    assert code == 0
    lines = [line.split() for line in out.getvalue().splitlines() if line.startswith("crud-")]
    assert [line[:5] for line in lines][:2] == [
        [one, "ghspec", "1", "student", "12"] for one in ("crud-r1-0123456789", "crud-r2-0123999999")
    ]


def test_filters_that_no_run_fits(ledger: Path) -> None:
    """A name that no run has ends with a code of its own and tells what there is; JSON is an empty list all the same."""
    code, out, err = run(ledger, "--framework", "nosuch")
    assert (code, out) == (3, "")
    assert f"of 2 finished runs in {ledger}, none is of framework `nosuch`" in err
    assert "frameworks there are: ghspec" in err
    code, out, _ = run(ledger, "--experiment", "nosuch", "--json")
    assert (code, json.loads(out)) == (3, [])
    code, _, err = run(ledger / "absent")
    assert (code, f"there is no folder {ledger / 'absent'}" in err) == (2, True)
