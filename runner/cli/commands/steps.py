"""List the steps of a run, with what each changed."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ExitCode

if TYPE_CHECKING:
    from runner.evidence.layout import RunLayout
    from runner.evidence.records import RunRecord

EXAMPLES = """
runner steps crud-r1-0123456789
runner steps crud-r1                as long as only one run begins so
runner steps ghspec/crud-r1 --json      with every step's record and metrics
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the run, and how to show it."""
    parser.add_argument("run", metavar="RUN", help="id of a run, FRAMEWORK/ID, or the beginning of either")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Print one row per planned step, from the record, the metrics and the history's index."""
    from runner.cli.finding import find_run, read_metrics, read_record
    from runner.evidence.history.oci import read_steps
    from runner.evidence.judged import whole_verdicts
    from runner.evidence.measures.again import judged_again
    from runner.report.history_tables import step_values, steps_table

    place = find_run(output_folder(args), args.run)
    record = read_record(place)
    metrics = judged_again(read_metrics(place.layout.metrics), whole_verdicts(place.layout))
    per_step = metrics.get("per_step") or _so_far(place.layout, record)
    values = step_values(record, per_step, read_steps(place.layout.history))
    if args.json:
        console.json({"run": place.run_id, "steps": values})
    else:
        console.table(steps_table(record, values))
    return ExitCode.PASSED


def _so_far(layout: RunLayout, record: RunRecord) -> list[Mapping[str, object]]:
    """Return the numbers of the steps that have ended in a run that has not."""
    from runner.evidence.metrics import read_totals

    return [{"step": step.id, **read_totals(layout.step(step.index).metrics)} for step in record.steps]
