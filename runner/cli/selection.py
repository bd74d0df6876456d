"""Arguments that choose an experiment and narrow it; `go` and `plan` take the same ones."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError

from runner.errors import ConfigError


def add_selection(parser: ArgumentParser) -> None:
    """Add the experiment and everything that overrides a part of it."""
    parser.add_argument(
        "experiment",
        nargs="?",
        metavar="EXPERIMENT",
        help="name below config/experiments/, or a file; by default `default`",
    )
    group = parser.add_argument_group("instead of what the experiment says")
    group.add_argument("--framework", action="append", metavar="NAME", help="only this framework; may be repeated")
    group.add_argument("--scenario", action="append", metavar="NAME", help="only this scenario; may be repeated")
    group.add_argument("--repetitions", type=positive, metavar="N", help="runs of each framework on each scenario")
    group.add_argument("--model", metavar="PROVIDER/NAME", help="like openai/gpt-4o-mini, or scripted")
    group.add_argument("--jobs", type=positive, metavar="N", help="containers at once")
    group.add_argument("--output", metavar="DIR", help="folder of run directories")
    group.add_argument("--seed", type=natural, metavar="N", help="seed of the experiment")
    group.add_argument(
        "--replay", metavar="RUN|DIR", help="answer with the calls of this run, or of this folder's runs"
    )
    group.add_argument(
        "--replay-mode", choices=("strict", "sequence"), help="find a recorded call by its content, or by order alone"
    )
    group.add_argument("--archive", choices=("zstd", "gzip", "off"), help="format of each run's archive")


def names(values: list[str] | None) -> tuple[str, ...]:
    """Return repeated or comma-separated names as one tuple.

    Raises:
        ConfigError: for a value that names nothing: all there is would be taken instead.
    """
    for value in values or ():
        if not value.replace(",", "").strip():
            raise ConfigError(
                f"{value!r} names nothing", hint="write names with commas between, or leave the option out"
            )
    return tuple(name.strip() for value in values or () for name in value.split(",") if name.strip())


def outcomes(values: list[str] | None, help_command: str) -> tuple[str, ...]:
    """Return the outcomes asked for, repeated or with commas between.

    Raises:
        ConfigError: for a name that no run can have as its outcome.
    """
    from typing import get_args

    from runner.cli.parser import unknown
    from runner.evidence.records import Outcome

    known = get_args(Outcome)
    wanted = names(values)
    for one in wanted:
        if one not in known:
            raise unknown("outcome", one, known, help_command)
    return wanted


def positive(text: str) -> int:
    """Return a whole number from 1."""
    return _at_least(1, text)


def natural(text: str) -> int:
    """Return a whole number from 0."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ArgumentTypeError(f"{text!r} is not a whole number from {least}")
    return int(text)
