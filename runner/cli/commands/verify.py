"""Check every digest of a run or of an archive."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.cli.finding import Place
    from runner.evidence.layout import RunLayout
    from runner.evidence.proof import Found

EXAMPLES = """
runner verify crud-r1                             a run: records, values, calls, history, archive
runner verify runs/ghspec/crud-r1-0123/run.tar.zst    an archive, wherever it is
runner verify crud-r1 --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to check."""
    parser.add_argument("what", metavar="RUN|FILE", help="id of a run or its beginning, or an archive")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Check, and name everything that is not what its digest says."""
    from pathlib import Path

    from runner.cli.finding import find_run, is_archive
    from runner.evidence.compress import begins_compressed
    from runner.evidence.proof import check_archive, check_run

    file = Path(args.what)
    if not is_archive(args.what) and not file.is_file():
        found = _checked(find_run(output_folder(args), args.what), check_run)
    elif is_archive(args.what) or begins_compressed(file):
        found = check_archive(file)
    else:
        raise ConfigError(
            f"{file} is no archive", why="an archive of a run begins like zstd or gzip", hint="runner verify --help"
        )
    problems = {name: texts for name, texts in found.items() if texts}
    if args.json:
        console.json({"checked": list(found), "problems": problems})
    else:
        for name, texts in found.items():
            console.painted([(f"{name}: ", ""), ("damaged", "bad") if texts else ("as it was written", "good")])
            for text in texts:
                console.result(f"  {text}")
    return ExitCode.STORAGE if problems else ExitCode.PASSED


def _checked(place: Place, check: Callable[[RunLayout], Found]) -> Found:
    from runner.errors import StorageError

    found = check(place.layout)
    if not found:
        raise StorageError(
            f"{place.run_id} has nothing to check", where=str(place.layout.root), why="it has not even a record yet"
        )
    return found
