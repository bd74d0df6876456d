"""Render the command line's reference from its parsers, so that documents and golden files cannot go stale unseen."""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from pathlib import Path

from runner import errors
from runner.cli.commands import COMMANDS
from runner.cli.parser import command_parser, main_parser
from runner.errors import ExitCode


def help_texts() -> dict[str, str]:
    """Return the help text of every command by its name, and of the program itself as `runner`."""
    texts = {"runner": main_parser().format_help()}
    return texts | {name: command_parser(name).format_help() for name in COMMANDS}


def write_golden(folder: Path) -> None:
    """Write `<command>.txt` for every help text into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in help_texts().items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")


def cli_reference() -> str:
    """Return the command line's reference as Markdown."""
    texts = help_texts()
    parts = ["# Command line", _code(texts.pop("runner"))]
    for name, text in texts.items():
        parts += [f"## runner {name}", _code(text)]
    parts += ["## Exit codes", exit_code_table()]
    return "\n\n".join(parts) + "\n"


def exit_code_table() -> str:
    """Return the exit codes and their meanings as a Markdown table, from the docstrings in `runner.errors`."""
    rows = [f"| {int(code)} | {code.name.lower().replace('_', ' ')} | {text} |" for code, text in exit_codes().items()]
    return "\n".join(["| code | name | meaning |", "| ---: | --- | --- |", *rows])


def exit_codes() -> dict[ExitCode, str]:
    """Return the sentence that stands below each exit code where it is defined."""
    module = ast.parse(inspect.getsource(errors))
    body = next(one.body for one in module.body if isinstance(one, ast.ClassDef) and one.name == ExitCode.__name__)
    meanings: dict[ExitCode, str] = {}
    for one, after in pairwise(body):
        match one, after:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                meanings[ExitCode[name]] = " ".join(text.split())
            case _:
                continue
    return meanings


def _code(text: str) -> str:
    return f"```text\n{textwrap.dedent(text).rstrip()}\n```"
