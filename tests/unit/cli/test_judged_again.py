"""Where which numbers of a run are, once it was judged again."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from runner.api.results import load_run
from runner.cli.judging import tell_ledger
from runner.cli.main import main
from runner.engine.owner import current
from runner.evidence.judged import index_verdicts, keep_verdict
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.evidence.verdicts import Assertion, CheckVerdict
from runner.ledger.store import ledger_path, open_ledger


@pytest.fixture
def judged(output: Path) -> RunLayout:
    """Return a finished run that the ledger knows, and that was judged again: all its modules can be imported."""
    path = next(one for one in sorted(output.glob("*/*/metadata.json")) if "r1" in str(one))
    record = RunRecord.model_validate_json(path.read_bytes())
    run = record.run.model_copy(update={"digest": "0" * 64})
    path.write_text(record.model_copy(update={"run": run}).model_dump_json())
    layout = RunLayout(path.parent)
    metrics = json.loads(layout.metrics.read_bytes())
    layout.metrics.write_text(
        json.dumps({**metrics, "imports_ok": 0.0, "per_step": [{"step": "a", "index": 1, "attempts": 1}]})
    )
    with open_ledger(ledger_path(output)) as ledger:
        ledger.register([run], output)
        lease = ledger.lease(run, current())
        assert lease is not None
        assert ledger.finish(lease, record, load_run(layout.root).metrics)
    verdict = CheckVerdict(
        check="own",
        kind="imports",
        step="a",
        index=1,
        version="1" * 12,
        passed=1,
        assertions=(Assertion(id="app", verdict="passed"),),
        figures={"modules_imported": 2, "modules": 2},
    )
    later = layout.judged_later(verdict.version)
    keep_verdict(later, verdict)
    index_verdicts(layout, later, [verdict])
    tell_ledger(layout, run)
    return layout


def shown(output: Path, *argv: str) -> str:
    """Return what a command prints."""
    out, err = io.StringIO(), io.StringIO()
    assert main([*argv, "--output", str(output)], environment={}, out=out, err=err) == 0, err.getvalue()
    return out.getvalue()


def test_every_command_shows_the_newest_and_the_file_stays(output: Path, judged: RunLayout) -> None:
    """`runs`, `runs --steps`, `metrics` and Python have the new number; `metrics.json` has that of its time."""
    (row,) = json.loads(shown(output, "runs", "--json"))
    assert row["metrics"]["imports_ok"] == 1.0
    assert row["metrics"]["tokens_in"] == 1234
    assert json.loads(shown(output, "runs", "--steps", "--json"))[0]["imports_ok"] == 1.0
    assert json.loads(shown(output, "metrics", "--json"))[0]["imports_ok"] == 1.0
    assert json.loads(shown(output, "steps", judged.root.name, "--json"))["run"] == judged.root.name
    assert load_run(judged.root).to_row()["imports_ok"] == 1.0
    assert json.loads(judged.metrics.read_bytes())["imports_ok"] == 0.0


def test_a_run_of_no_ledger_is_told_nobody(output: Path, judged: RunLayout, tmp_path: Path) -> None:
    """Of a run in a folder without a ledger none is made."""
    copy = RunLayout(tmp_path / "elsewhere" / judged.root.parent.name / judged.root.name)
    copy.root.mkdir(parents=True)
    run = RunRecord.model_validate_json(judged.metadata.read_bytes()).run
    tell_ledger(copy, run)
    assert not ledger_path(tmp_path / "elsewhere").exists()
    assert ledger_path(output).is_file()
