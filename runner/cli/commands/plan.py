"""Show what `go` would run."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.selection import add_selection
from runner.errors import ExitCode

if TYPE_CHECKING:
    from runner.cli.workplace import Workplace
    from runner.spec.load import Inputs

EXAMPLES = """
runner plan
runner plan --framework ghspec --repetitions 5
runner plan --explain            where each value comes from
runner plan --json | less        every run, with its digest and why it runs or not
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to plan and how to show it."""
    add_selection(parser)
    parser.add_argument("--fresh", action="store_true", help="plan as `go --fresh` would")
    parser.add_argument("--explain", action="store_true", help="show each value and where it comes from instead")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: Namespace, console: Console) -> int:
    """Plan without an engine and show it."""
    from runner.cli.planning import read_inputs
    from runner.cli.workplace import open_workplace

    workplace = open_workplace(args)
    inputs = read_inputs(workplace, args)
    if args.explain:
        return explain(args, console, inputs)
    return show_plan(args, console, workplace, inputs)


def explain(args: Namespace, console: Console, inputs: Inputs) -> int:
    """Show every value of the experiment, its frameworks, scenarios and workflows with its source."""
    from runner.report.explain_tables import explain_tables, explain_values

    if args.json:
        console.json(explain_values(inputs))
    else:
        for table in explain_tables(inputs):
            console.table(table)
            console.result()
    return ExitCode.PASSED


def show_plan(args: Namespace, console: Console, workplace: Workplace, inputs: Inputs) -> int:
    """Show each run and what would happen to it, as far as can be told without an engine."""
    from runner.cli.checks import writable_finding
    from runner.cli.gateway_stage import require_prices
    from runner.cli.image_stage import site_of
    from runner.cli.planning import dry_plan, open_recordings
    from runner.gateway.labels import model_label
    from runner.report.plan_tables import graph_tables, plan_table, plan_values

    # What `go` would refuse before anything starts is refused here as well.
    site_of(workplace.environment)
    require_prices(workplace, inputs)
    with open_recordings(workplace, args, inputs) as recordings:
        dry = dry_plan(workplace, inputs, fresh=args.fresh, recordings=recordings)
    decisions = dry.decisions
    model = inputs.experiment.value.model
    label = model_label(model) if model else ""
    place = writable_finding("output", workplace.project.output(inputs.experiment.value.output))
    unusable = (f"`runner go` cannot keep anything there: {place.text}",) if place.status == "fail" else ()
    notes = (*inputs.notes, *unusable, *dict.fromkeys(str(problem) for problem in dry.problems))
    if args.json:
        console.json(
            {
                "experiment": inputs.experiment.value.name,
                "model": label or None,
                "to_do": sum(one.action == "run" for one in decisions),
                "done": sum(one.action == "skip" for one in decisions),
                "runs": plan_values(decisions),
            }
        )
    else:
        console.table(plan_table(decisions, label))
        for table in graph_tables(one.run for one in decisions):
            console.result()
            console.table(table)
    for note in notes:
        console.warn(note)
    return ExitCode.PASSED
