"""Carry out an experiment."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.cli.selection import add_selection

EXAMPLES = """
runner go                                        the default experiment; again: only what is not done
runner go --model openai/gpt-4o-mini             with a real model; the key is in OPENAI_API_KEY
runner go pilot --framework ghspec --scenario hello --repetitions 5
runner go --dry-run                              show the plan; needs no engine
runner go --fresh                                do everything anew and keep the old runs aside
runner go --replay runs/ghspec/crud-r1-0123456789 --framework ghspec --scenario crud --repetitions 1
runner go --json > results.json
runner go --detach                               go on when this terminal is closed; watch with `runner attach`
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to carry out and how."""
    add_selection(parser)
    parser.add_argument("--fresh", action="store_true", help="carry out everything anew; the old runs are kept aside")
    parser.add_argument("--dry-run", action="store_true", help="show the plan and stop; same as `runner plan`")
    parser.add_argument("--detach", action="store_true", help="go on without this terminal; `runner attach` watches")
    parser.add_argument("--json", action="store_true", help="print the results as one JSON document")


def run(args: Namespace, console: Console) -> int:
    """Load, plan, execute, record, report."""
    from runner.cli.commands.plan import show_plan
    from runner.cli.detaching import detach
    from runner.cli.experiment import conclude, decide_runs, open_session, perform, prepare_images
    from runner.cli.planning import open_recordings, plan_runs, read_inputs
    from runner.cli.unfinished_forks import unfinished_forks
    from runner.cli.workplace import open_workplace
    from runner.execution.replay import folders_by_digest
    from runner.plan.matrix import require_some

    workplace = open_workplace(args)
    inputs = read_inputs(workplace, args)
    require_some(inputs.experiment.value)
    if args.dry_run:
        return show_plan(args, console, workplace, inputs)
    if args.detach:
        return detach(args, console, workplace.project.output(inputs.experiment.value.output))
    with (
        open_recordings(workplace, args, inputs) as recordings,
        open_session(args, console, workplace, inputs) as session,
    ):
        images = prepare_images(session)
        forks = unfinished_forks(session.work, images)
        for sentence in forks.left:
            console.say(sentence)
        runs = [*plan_runs(workplace, inputs, images.references, session.work.info.platform, recordings), *forks.runs]
        todo = decide_runs(session, runs)
        recorded = folders_by_digest(runs, recordings)
        stopped = perform(session, images, todo, recorded, planned=runs, origins=forks.origins)
        return conclude(session, runs, images, stopped)
