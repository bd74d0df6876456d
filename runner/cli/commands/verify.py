"""Check every digest of a run or of an archive."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = """
runner verify crud-r1                             a run: its history and its archive
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

    from runner.cli.finding import find_run

    file = Path(args.what)
    found = _check_archive(file) if file.is_file() else _check_run(find_run(output_folder(args), args.what).layout.root)
    problems = {name: texts for name, texts in found.items() if texts}
    if args.json:
        console.json({"checked": list(found), "problems": problems})
    else:
        for name, texts in found.items():
            console.painted([(f"{name}: ", ""), ("damaged", "bad") if texts else ("as it was written", "good")])
            for text in texts:
                console.result(f"  {text}")
    return ExitCode.STORAGE if problems else ExitCode.PASSED


def _check_archive(file: Path) -> dict[str, list[str]]:
    from runner.evidence.verify import verify_archive

    return {file.name: [str(one) for one in verify_archive(file)]}


def _check_run(root: Path) -> dict[str, list[str]]:
    from runner.errors import StorageError
    from runner.evidence.history.check import check_history
    from runner.evidence.layout import RunLayout

    layout = RunLayout(root)
    found = {layout.history.name: check_history(layout.history)} if layout.history.exists() else {}
    for kind in ("zstd", "gzip"):
        if layout.archive(kind).is_file():
            found |= _check_archive(layout.archive(kind))
    if not found:
        raise StorageError(
            f"{root.name} has nothing to check", where=str(root), why="it has neither a history nor an archive yet"
        )
    return found
