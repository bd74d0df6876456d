"""Continue a run from a step, as a new run."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from runner.cli.console import Console
from runner.cli.selection import natural
from runner.cli.workplace import add_output_option, output_folder

EXAMPLES = """
runner fork crud-r1@2                              the steps after 2, once more, from what 2 left
runner fork crud-r1@2 --framework mini-swe-agent   another framework goes on
runner fork crud-r1@2 --model openai/gpt-4o-mini   another model answers
runner fork crud-r1@2 --prompt teacher=@shorter.md --note shorter
runner fork crud-r1@2 --scenario checks            all steps of another scenario, on what step 2 left
runner fork run.tar.zst@2                          from an archive
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add where to go on, and what is to be another."""
    parser.add_argument(
        "step", metavar="RUN@STEP", help="a step, by its name or number, whose workspace is gone on with"
    )
    group = parser.add_argument_group("instead of what the run had")
    group.add_argument("--framework", metavar="NAME", help="framework that performs the steps")
    group.add_argument("--model", metavar="PROVIDER/NAME", help="like openai/gpt-4o-mini, or scripted")
    group.add_argument(
        "--prompt", action="append", metavar="STEP=TEXT|STEP=@FILE", help="prompt of a step; may be repeated"
    )
    group.add_argument(
        "--scenario", metavar="NAME", help="all steps of this scenario, instead of the run's own that are left"
    )
    group.add_argument("--seed", type=natural, metavar="N", help="seed of the new run")
    parser.add_argument("--note", default="", metavar="TEXT", help="why, for the record")
    parser.add_argument(
        "--fresh", action="store_true", help="carry it out although it is done; the old run is kept aside"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON document")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Plan the new run, perform it unless it is done, and show what it came to."""
    from runner.cli.experiment import conclude, decide_runs, open_session, perform, prepare_images
    from runner.cli.forking import check_fork, drafted, origin_of, planned_fork, unread_prompts
    from runner.cli.workplace import open_workplace
    from runner.report.format import plural

    workplace = open_workplace(args)
    draft = drafted(workplace, args, output_folder(args))
    check_fork(workplace, draft)
    with open_session(args, console, workplace, draft.inputs) as session:
        images = prepare_images(session)
        fork = planned_fork(workplace, draft, images.references, session.work.info.platform)
        console.say(f"{fork.id} goes on from {draft.parent.id}@{draft.step.id} with {plural(len(fork.steps), 'step')}")
        if unread := unread_prompts(fork, draft.prompts):
            console.warn(unread)
        todo = decide_runs(session, [fork])
        perform(session, images, todo, planned=[fork], origins={fork.digest or "": origin_of(draft)})
        return conclude(session, [fork], images)
