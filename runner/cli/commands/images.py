"""Lock, fetch, build, list and check images."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.errors import ExitCode, RunnerError
from runner.report.format import plural

if TYPE_CHECKING:
    from runner.cli.workplace import Workplace
    from runner.images.models import BuiltImage, Finding, ImageContext

EXAMPLES = """
runner images build                  what is missing for the default experiment; fetches what it needs
runner images list
runner images lock ghspec            resolve anew; the only stage that changes a lock
runner images fetch                  fill the cache; the only stage with a network
runner images check --rebuild        build again and compare, file by file
"""
_STAGES = {
    "lock": "resolve frameworks into locks with hashes and full commits",
    "fetch": "fetch what the locks name into the cache, and verify it",
    "build": "build what is missing, without a network, and test it; fetches what is not in the cache",
    "list": "list images: locked, fetched, built, stale, and their sizes",
    "check": "verify locks, cache and images",
}
_FOR_DEFAULT = {"fetch", "build"}
"""Stages that by default do no more than the default experiment needs."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the stage and the names it works on."""
    table = "\n".join(f"  {name:<8}{summary}" for name, summary in _STAGES.items())
    parser.description = f"{parser.description}\n\nstages:\n{table}"
    parser.add_argument("stage", choices=tuple(_STAGES), metavar="STAGE", help="what to do")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="folders below images/; by default the default experiment's to fetch and build, otherwise all",
    )
    parser.add_argument("--rebuild", action="store_true", help="check: also build again and compare the images")
    parser.add_argument("--json", action="store_true", help="list, check: print one JSON document")


def run(args: Namespace, console: Console) -> int:
    """Carry out one stage and tell what it did."""
    from runner.cli.image_stage import image_context
    from runner.cli.live import notices, tell_all
    from runner.cli.logging import logging_to
    from runner.cli.workplace import open_workplace
    from runner.engine.docker import connect

    workplace = open_workplace(args)
    names = tuple(args.names) or (_default_names(workplace) if args.stage in _FOR_DEFAULT else ())
    verbose = console.err if args.verbose else None
    with connect(workplace.environment) as engine, logging_to(workplace.project.state, verbose=verbose) as log:
        context = image_context(workplace, engine, tell_all(notices(console), log))
        return _RUN[args.stage](_Order(context=context, names=names, args=args, console=console))


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What a stage is asked to do."""

    context: ImageContext
    names: tuple[str, ...]
    args: Namespace
    console: Console


def _default_names(workplace: Workplace) -> tuple[str, ...]:
    """Return the recipes that the default experiment needs, as environment variables narrow it."""
    from runner.spec.load import load_all
    from runner.spec.overrides import Overrides

    return load_all(workplace.project, None, Overrides(), workplace.environment).recipes


def _lock(order: _Order) -> int:
    from runner.images import pipeline

    # Each recipe is told of when it is locked, by an event.
    pipeline.lock(order.context, order.names)
    return ExitCode.PASSED


def _fetch(order: _Order) -> int:
    from runner.images import pipeline

    return _tell(order.console, pipeline.fetch(order.context, order.names))


def _build(order: _Order) -> int:
    from runner.images import pipeline

    return _tell(order.console, pipeline.ensure(order.context, order.names))


def _tell(console: Console, results: Mapping[str, int | BuiltImage | RunnerError]) -> int:
    """Print what became of each recipe; one that failed keeps no other from being made."""
    code: int = ExitCode.PASSED
    for name, result in results.items():
        match result:
            case RunnerError():
                console.error(result)
                code = result.exit_code
            case int():
                console.say(f"{name}: {plural(result, 'artifact')} in the cache")
            case _:
                console.say(f"{name}: {'built' if result.built else 'ready'} {result.tag} {result.id}")
    for line in _left_out(results):
        console.say(line)
    return code


def _left_out(results: Mapping[str, int | BuiltImage | RunnerError]) -> list[str]:
    """Say which recipes came to nothing, those whose source does not answer apart: nothing is wrong with them."""
    from runner.images.reach import Unreachable

    failed = {name: result for name, result in results.items() if isinstance(result, RunnerError)}
    away = [name for name, error in failed.items() if isinstance(error, Unreachable)]
    wrong = [name for name in failed if name not in away]
    lines = [f"not buildable here, as a source cannot be reached: {', '.join(away)}"] if away else []
    lines += [f"failed: {', '.join(wrong)}"] if wrong else []
    if failed and len(failed) < len(results):
        lines.append("the others are made; runner go carries out what can be done with them")
    return lines


def _list(order: _Order) -> int:
    from runner.images import pipeline
    from runner.report.image_tables import image_table

    found = [one for one in pipeline.listing(order.context) if not order.args.names or one.name in order.names]
    if order.args.json:
        order.console.json([asdict(one) for one in found])
    else:
        order.console.table(image_table(found))
    return ExitCode.PASSED


def _check(order: _Order) -> int:
    from runner.images.check import check

    findings = check(order.context, order.names, rebuild=order.args.rebuild)
    if order.args.json:
        order.console.json([asdict(one) for one in findings])
    else:
        show_findings(order.console, findings)
    return ExitCode.PASSED if all(one.ok for one in findings) else ExitCode.IMAGE


def show_findings(console: Console, findings: Iterable[Finding]) -> None:
    """Print what a check found; the further lines of a text stand below its first."""
    for one in findings:
        mark = ("ok   ", "good") if one.ok else ("fail ", "bad")
        first, *more = one.text.splitlines() or [""]
        console.painted([mark, (f"{one.name}: ", "strong"), (first, "")])
        for line in more:
            console.painted([(f"     {line}", "")])


_RUN: dict[str, Callable[[_Order], int]] = {
    "lock": _lock,
    "fetch": _fetch,
    "build": _build,
    "list": _list,
    "check": _check,
}
