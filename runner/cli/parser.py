"""The command line's grammar: global options, a table of commands, and complaints that name the nearest choice."""

from __future__ import annotations

import argparse
import importlib
import keyword
import re
import textwrap
from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import NoReturn

from runner.cli.commands import COMMANDS
from runner.errors import ConfigError

_UNKNOWN_CHOICE = re.compile(r"argument (?P<name>[^:]+): invalid choice: '(?P<value>.*)' \(choose from (?P<all>.*)\)")
_WIDTH = 100
"""Width of help texts, whatever the terminal's: the committed ones stay comparable."""


class Parser(argparse.ArgumentParser):
    """An argument parser that raises ConfigError where argparse would print and exit."""

    def __init__(self, prog: str, *, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog or None,
            formatter_class=_formatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the command line, with the nearest choice if there is one."""
        usage = " ".join(self.format_usage().split())
        found = _UNKNOWN_CHOICE.fullmatch(message)
        if found is None:
            raise ConfigError(_sentence(message), why=usage, hint=f"see `{self.prog} --help`")
        choices = re.findall(r"'([^']*)'", found["all"])
        if found["name"].startswith("-"):
            raise none_of(found["name"], found["value"], choices, f"{self.prog} --help")
        raise unknown(f"argument {found['name']}", found["value"], choices, f"{self.prog} --help")

    def refuse(self, extras: Sequence[str]) -> NoReturn:
        """Raise for arguments that nothing takes."""
        first = extras[0].partition("=")[0]
        if first.startswith("-"):
            options = [option for option in self._option_string_actions if option.startswith("--")]
            raise unknown("option", first, options, f"{self.prog} --help")
        self.error(f"too many arguments: {' '.join(extras)}")


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=28, width=_WIDTH)


def _sentence(message: str) -> str:
    return message.replace("the following arguments are required", "missing")


def none_of(option: str, value: str, choices: Iterable[str], help_command: str) -> ConfigError:
    """Return the complaint about a value that an option may not have, with those it may and the nearest of them."""
    names = list(choices)
    return ConfigError(
        f"{option}: {value} is none of {', '.join(names)}", hint=f"{_nearest(value, names)}see `{help_command}`"
    )


def unknown(kind: str, value: str, choices: Iterable[str], help_command: str) -> ConfigError:
    """Return the complaint about a name that does not exist, with the choices and the nearest of them."""
    names = list(choices)
    return ConfigError(
        f"unknown {kind}: {value}",
        why=f"choices: {', '.join(names)}",
        hint=f"{_nearest(value, names)}see `{help_command}`",
    )


def _nearest(value: str, names: Sequence[str]) -> str:
    # Imported here because it is slow and only a mistake needs it.
    import difflib

    near = difflib.get_close_matches(value, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]}? " if near else ""


def load_command(name: str) -> ModuleType:
    """Import the module of a command; one whose name Python keeps for itself has an underscore after it."""
    return importlib.import_module(f"runner.cli.commands.{name}{'_' if keyword.iskeyword(name) else ''}")


def main_parser() -> Parser:
    """Return the parser of global options; it imports no command."""
    wide = max(map(len, COMMANDS))
    table = "\n".join(f"  {name:<{wide}} {summary}" for name, summary in COMMANDS.items())
    parser = Parser(
        "runner",
        description="Compare code-generation frameworks: isolated containers, exact metrics, runs that can be done again.",
        epilog=f"commands:\n{table}\n\nexamples:\n  runner go\n  runner go --framework ghspec --scenario hello\n"
        "  runner show RUN\n\n`runner COMMAND --help` explains a command and gives examples.",
    )
    parser.usage = "runner [options] COMMAND ..."
    add_global_options(parser)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    return parser


def add_global_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that stand before or after the command's name alike."""
    group = parser.add_argument_group("global options")
    absent = argparse.SUPPRESS
    group.add_argument("-C", "--project", metavar="DIR", default=absent, help="start in this folder")
    group.add_argument("--no-color", action="store_true", default=absent, help="no colours, as with NO_COLOR set")
    group.add_argument("-q", "--quiet", action="store_true", default=absent, help="results and errors only")
    group.add_argument("-v", "--verbose", action="store_true", default=absent, help="show the log on stderr as well")


def command_parser(name: str) -> Parser:
    """Return the parser of one command, with its examples."""
    module = load_command(name)
    summary = COMMANDS[name]
    parser = Parser(
        f"runner {name}",
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"examples:\n{textwrap.indent(textwrap.dedent(module.EXAMPLES).strip(), '  ')}",
    )
    module.add_arguments(parser)
    add_global_options(parser)
    return parser


def split(argv: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """Cut a command line into global options, the command's name (None if there is none) and its arguments."""
    index = 0
    while index < len(argv) and argv[index].startswith("-"):
        index += 2 if argv[index] in {"-C", "--project"} else 1
    if index >= len(argv):
        return list(argv), None, []
    return list(argv[:index]), argv[index], list(argv[index + 1 :])


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; `command` is empty where only global options were given.

    Raises:
        ConfigError: for an unknown command, option or value.
        SystemExit: after `--help`, as argparse does.
    """
    before, command, after = split(argv)
    main = main_parser()
    namespace, extras = main.parse_known_args(before)
    if extras:
        main.refuse(extras)
    if command is not None and command not in COMMANDS:
        raise unknown("command", command, COMMANDS, "runner --help")
    if command is not None:
        parser = command_parser(command)
        # Intermixed: an option may stand between a command's arguments, as in `images check --rebuild NAME`.
        namespace, extras = parser.parse_known_intermixed_args(after, namespace)
        if extras:
            getattr(namespace, "parser", parser).refuse(extras)
    settings = {"command": command or "", "project": ".", "no_color": False, "quiet": False, "verbose": False}
    return argparse.Namespace(**{**settings, **vars(namespace)})
