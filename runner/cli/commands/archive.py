"""Write a finished run's archive, or write it again."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.workplace import add_output_option, output_folder
from runner.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from runner.evidence.archive import ArchiveInfo
    from runner.evidence.records import RunRecord

EXAMPLES = """
runner archive crud-r1                          the run's own archive, beside its evidence
runner archive crud-r1 --kind gzip              in another format, which older tools open
runner archive crud-r1 --to crud.tar.zst        somewhere else; nothing in the run changes
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add the run, the format and where to."""
    parser.add_argument("run", metavar="RUN", help="id of a run, FRAMEWORK/ID, or the beginning of either")
    parser.add_argument("--to", metavar="FILE", help="new file to write instead of the run's own archive")
    parser.add_argument(
        "--kind",
        choices=("zstd", "gzip"),
        help="format; by default what the name of FILE ends in, or the experiment says, or zstd",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    add_output_option(parser)


def run(args: Namespace, console: Console) -> int:
    """Write the archive, and say what is in it and what is not."""
    from runner.cli.archiving import require_whole
    from runner.cli.finding import find_run, is_archive, read_record
    from runner.cli.targets import new_file
    from runner.evidence.archive import write_archive

    target = new_file(args.to) if args.to else None
    if target is None and is_archive(args.run):
        raise ConfigError(
            f"{args.run} is an archive already",
            hint=f"to write it in another place: runner archive {args.run} --to FILE",
        )
    place = find_run(output_folder(args), args.run)
    record = read_record(place)
    if record.outcome is None:
        raise ConfigError(
            f"{place.run_id} is not finished", why="an archive is of a run that has ended", hint="runner go"
        )
    if target is None:
        require_whole(place)
    info = write_archive(place.layout, _kind(args, record), exclude=record.run.exclude_files, target=target)
    if args.json:
        console.json(_values(info))
        return ExitCode.PASSED
    for one in info.skipped:
        console.warn(f"not in the archive: {one}")
    console.result(str(info.path))
    console.result(f"{info.bytes} bytes, {info.members} members")
    console.result(f"sha256      {info.sha256}")
    console.result(f"tar sha256  {info.tar_sha256}")
    return ExitCode.PASSED


def _kind(args: Namespace, record: RunRecord) -> str:
    if args.kind:
        return str(args.kind)
    if args.to and args.to.endswith((".gz", ".tgz")):
        return "gzip"
    if args.to or record.run.archive == "off":
        return "zstd"
    return record.run.archive


def _values(info: ArchiveInfo) -> dict[str, object]:
    return {
        "path": str(info.path),
        "bytes": info.bytes,
        "members": info.members,
        "sha256": info.sha256,
        "tar_sha256": info.tar_sha256,
        "skipped": [str(one) for one in info.skipped],
    }
