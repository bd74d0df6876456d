"""Show what can go, and remove it."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.selection import names, natural, outcomes
from runner.cli.workplace import add_output_option, open_workplace, output_folder
from runner.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from runner.cli.groups import Group
    from runner.cli.leftovers import Wanted
    from runner.cli.old_runs import RunsWanted

EXAMPLES = """
runner clean                          show what dead runners left in the engine
runner clean --superseded --images    show also replaced run directories and old images
runner clean --superseded --yes       remove it
runner clean --cache --yes            empty the fetch cache; the next build fetches again
runner clean --older-than 30d --keep-last 5      show old runs, all but the last five of each kind
runner clean --until-free 50GiB --archive-to /archive --yes     make room, archives elsewhere first
"""
_RULE = ("older_than", "keep_last", "larger_than", "until_free")
_FILTERS = ("framework", "scenario", "experiment", "outcome")


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to look at, and whether to remove it."""
    parser.add_argument("--yes", action="store_true", help="remove what is shown; without it nothing is changed")
    parser.add_argument("--superseded", action="store_true", help="run directories that were replaced by newer ones")
    parser.add_argument(
        "--attempts",
        action="store_true",
        help="what earlier attempts of finished runs left, if an archive holds it too",
    )
    parser.add_argument(
        "--images",
        nargs="?",
        const=True,
        type=_age,
        metavar="AGE",
        help="images of ours that no recipe and no kept run needs; with an age, those not used for so long, like 30d",
    )
    parser.add_argument("--cache", action="store_true", help="fetched artifacts; they can be fetched again")
    _add_runs(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)


def _add_runs(parser: ArgumentParser) -> None:
    rule = parser.add_argument_group("finished runs, of which everything given is true")
    rule.add_argument("--older-than", type=_age, metavar="AGE", help="that finished so long ago, like 30d")
    rule.add_argument(
        "--keep-last", type=natural, metavar="N", help="all but the last N of each framework on each scenario"
    )
    rule.add_argument("--larger-than", type=_bytes, metavar="SIZE", help="that take more room, like 1GiB")
    rule.add_argument(
        "--until-free", type=_bytes, metavar="SIZE", help="the oldest, until so much is free on the disk, like 50GiB"
    )
    for name in _FILTERS:
        rule.add_argument(f"--{name}", action="append", metavar="NAME", help=f"only runs of this {name}")
    rule.add_argument(
        "--except", dest="spare", action="append", metavar="RUN", help="not this one; `runner keep` says so for good"
    )
    rule.add_argument(
        "--archive-to", metavar="PLACE", help="folder or URL: each run's archive goes there first, and is read back"
    )


def run(args: Namespace, console: Console) -> int:
    """Show every group of removable things; with --yes remove them and say what could not be removed."""
    from runner.cli import leftovers

    with ExitStack() as stack:
        groups = leftovers.collect(stack, open_workplace(args), output_folder(args), _wanted(args))
        if not args.json:
            _show(console, groups)
        problems = {group.title: group.remove() for group in groups if group.items} if args.yes else {}
    if args.json:
        console.json({"removed": args.yes, "groups": [group.values(problems.get(group.title, ())) for group in groups]})
        return _code(problems)
    for title, texts in problems.items():
        for text in texts:
            console.warn(f"{title}: {text}")
    if args.yes:
        console.say(f"done; {_free(output_folder(args))}")
    elif any(group.items and group.removable for group in groups):
        console.say("nothing was removed; `runner clean --yes` with the same options does it")
    return _code(problems)


def _free(output: Path) -> str:
    """Write what is free now: what is shared with something that stays frees nothing."""
    from runner.engine.admission import measure_space
    from runner.report.format import size

    space = measure_space(output)
    return f"{size(space.free)} are free at {space.path}"


def _wanted(args: Namespace) -> Wanted:
    from runner.cli.leftovers import Wanted

    return Wanted(
        superseded=args.superseded,
        attempts=args.attempts,
        images=args.images is not None,
        images_unused_for=args.images if isinstance(args.images, float) else None,
        cache=args.cache,
        runs=_runs(args),
    )


def _runs(args: Namespace) -> RunsWanted | None:
    """Return which runs are looked at; options that only narrow a rule are refused without one."""
    from runner.cli.old_runs import RunsWanted
    from runner.ledger.retention import Rule

    rule = Rule(
        older_than=args.older_than, keep_last=args.keep_last, larger_than=args.larger_than, free=args.until_free
    )
    narrowing = [name for name in (*_FILTERS, "spare", "archive_to") if getattr(args, name)]
    if not rule.given:
        if narrowing:
            option = {"spare": "--except", "archive_to": "--archive-to"}.get(narrowing[0], f"--{narrowing[0]}")
            raise ConfigError(
                f"{option} does not say which runs may go",
                why=f"it narrows a rule: {', '.join('--' + name.replace('_', '-') for name in _RULE)}",
                hint="add one; `--older-than 0d` stands for every finished run",
            )
        return None
    outcomes(args.outcome, "runner clean --help")
    return RunsWanted(
        rule=rule,
        filters={f"{name}s": found for name in _FILTERS if (found := names(getattr(args, name)))},
        spare=tuple(args.spare or ()),
        archive_to=args.archive_to or "",
    )


def _age(text: str) -> float:
    from runner.spec.units import parse_seconds

    try:
        return float(parse_seconds(text))
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _bytes(text: str) -> int:
    from runner.spec.units import parse_bytes

    try:
        return parse_bytes(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _code(problems: dict[str, list[str]]) -> int:
    return ExitCode.STORAGE if any(problems.values()) else ExitCode.PASSED


def _show(console: Console, groups: list[Group]) -> None:
    for group in groups:
        console.painted([(group.title, "strong"), (f": {group.summary}", "")])
        for name, detail in group.items:
            console.painted([(f"  {name}", ""), (f"  {detail}", "faint")])
