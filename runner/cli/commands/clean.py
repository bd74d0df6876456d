"""Show what can go, and remove it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import ExitStack
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, open_workplace, output_folder
from runner.errors import ExitCode

if TYPE_CHECKING:
    from runner.cli.leftovers import Group

EXAMPLES = """
runner clean                          show what dead runners left in the engine
runner clean --superseded --images    show also replaced run directories and old images
runner clean --superseded --yes       remove it
runner clean --cache --yes            empty the fetch cache; the next build fetches again
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to look at, and whether to remove it."""
    parser.add_argument("--yes", action="store_true", help="remove what is shown; without it nothing is changed")
    parser.add_argument("--superseded", action="store_true", help="run directories that were replaced by newer ones")
    parser.add_argument("--images", action="store_true", help="images of ours that no recipe of this project names")
    parser.add_argument("--cache", action="store_true", help="fetched artifacts; they can be fetched again")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Show every group of removable things; with --yes remove them and say what could not be removed."""
    from runner.cli import leftovers

    with ExitStack() as stack:
        groups = leftovers.collect(
            stack,
            open_workplace(args),
            output_folder(args),
            superseded=args.superseded,
            images=args.images,
            cache=args.cache,
        )
        if not args.json:
            _show(console, groups)
        problems = {group.title: group.remove() for group in groups if group.items} if args.yes else {}
    if args.json:
        console.json({"removed": args.yes, "groups": [group.values(problems.get(group.title, ())) for group in groups]})
        return _code(problems)
    for title, texts in problems.items():
        for text in texts:
            console.warn(f"{title}: {text}")
    if not args.yes and any(group.items and group.removable for group in groups):
        console.say("nothing was removed; `runner clean --yes` with the same options does it")
    return _code(problems)


def _code(problems: dict[str, list[str]]) -> int:
    return ExitCode.STORAGE if any(problems.values()) else ExitCode.PASSED


def _show(console: Console, groups: list[Group]) -> None:
    for group in groups:
        console.painted([(group.title, "strong"), (f": {group.summary}", "")])
        for name, detail in group.items:
            console.painted([(f"  {name}", ""), (f"  {detail}", "faint")])
