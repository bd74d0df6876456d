"""Replay one run and compare what came of it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.cli.replaying import Comparison
    from runner.execution.replay import Recorded

EXAMPLES = """
runner replay crud-r1-0123456789              needs no model, no key and no network
runner replay run.tar.zst --output replayed   from an archive alone
runner replay crud-r1 --mode sequence         where requests differ from the recorded ones
"""
_SHOWN = 10
"""Paths that are named where workspaces differ."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to replay and how."""
    parser.add_argument("run", metavar="RUN", help="id of a run or its beginning, a run's directory, or its archive")
    parser.add_argument(
        "--mode",
        choices=("strict", "sequence"),
        default="strict",
        help="find a recorded call by its content (the default), or by order alone",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)
    parser.set_defaults(fresh=True)


def run(args: Namespace, console: Console) -> int:
    """Plan the run again from its own record, perform it, and compare the workspaces."""
    from runner.cli.experiment import open_session, perform, prepare_images
    from runner.cli.planning import offered_packages, recorded_place
    from runner.cli.replaying import compare, inputs_of, planned_again
    from runner.cli.workplace import open_workplace
    from runner.execution.replay import recorded_runs
    from runner.gateway.recording import load_recording

    output = output_folder(args)
    workplace = open_workplace(args)
    with recorded_runs(recorded_place(args.run, output)) as found:
        recorded = _only(args.run, found)
        recording = load_recording(recorded.folder)
        inputs = inputs_of(workplace.project, recorded, output, args.mode)
        with open_session(args, console, workplace, inputs) as session:
            images = prepare_images(session)
            image = images.references[recording.run.framework.name]
            packages = offered_packages(workplace, recording.run.packages)
            again = planned_again(recording, image, args.mode, packages)
            perform(session, images, [again], {again.digest or "": recorded.folder})
        return _conclude(args, console, compare(recorded, output, again))


def _only(text: str, found: Sequence[Recorded]) -> Recorded:
    """Return the one run there is."""
    if len(found) == 1:
        return found[0]
    names = ", ".join(one.record.run.id for one in found[:_SHOWN])
    raise ConfigError(f"{text} holds {len(found)} runs", why=names, hint="name one of them; or: runner go --replay DIR")


def _conclude(args: Namespace, console: Console, comparison: Comparison) -> int:
    """Say whether the replay came to the same, and return the exit code."""
    from runner.report.exit_code import exit_code

    if args.json:
        console.json(comparison.values())
    else:
        _say(console, comparison)
    if comparison.same:
        return ExitCode.PASSED
    code = exit_code([comparison.replayed.outcome])
    return code if code in {ExitCode.BROKEN, ExitCode.INTERRUPTED} else ExitCode.FAILED


def _say(console: Console, comparison: Comparison) -> None:
    recorded, replayed = comparison.recorded, comparison.replayed
    if recorded.outcome != replayed.outcome:
        reason = f": {replayed.reason}" if replayed.reason else ""
        console.result(f"the outcome differs: {recorded.outcome} when recorded, now {replayed.outcome}{reason}")
    if comparison.before.sha256 == comparison.after.sha256:
        console.result(f"the workspace is the same: {comparison.after.files} files, sha256 {comparison.after.sha256}")
    else:
        differing = comparison.differing
        console.result(f"the workspace differs in {len(differing)} paths (first: recorded, second: replayed)")
        for path, how in differing[:_SHOWN]:
            console.result(f"  {path}: {how}")
        if len(differing) > _SHOWN:
            console.result(f"  and {len(differing) - _SHOWN} more")
    console.result(f"evidence in {comparison.directory}")
