"""The command as a whole: parsing, errors as text, exit codes."""

from __future__ import annotations

import io
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.cli import main as main_module
from runner.cli.commands import COMMANDS
from runner.cli.main import main
from runner.cli.parser import load_command, parse
from runner.cli.reference import cli_reference, exit_codes, help_texts
from runner.errors import ConfigError, EngineError, ExitCode

GOLDEN = Path(__file__).parents[2] / "golden" / "help"


def run(*argv: str, environment: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run a command line and return exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    code = main(argv, environment=environment or {}, out=out, err=err)
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize("name", [*COMMANDS, "runner"])
def test_golden_help(name: str) -> None:
    """The help of each command is what was last reviewed; `make generate` writes it anew."""
    assert help_texts()[name] == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_that_parse(name: str) -> None:
    """Every example in a help text is a command line that the parser accepts."""
    lines = [line.strip().split("  ")[0] for line in load_command(name).EXAMPLES.strip().splitlines()]
    assert lines
    for line in lines:
        words = line.partition(" > ")[0].partition(" | ")[0].split()
        assert words[0] == "runner"
        assert parse(words[1:]).command == name


def test_unknown_commands_name_the_nearest() -> None:
    """A mistyped command ends with 2, the choices, and the nearest of them."""
    code, out, err = run("snow")
    assert (code, out) == (2, "")
    assert err == (
        f"error: unknown command: snow\n  choices: {', '.join(COMMANDS)}\n  -> did you mean show? see `runner --help`\n"
    )


def test_unknown_options_name_the_nearest() -> None:
    """A mistyped option ends with 2 and names the nearest one of that command."""
    code, _, err = run("go", "--framwork", "x")
    assert code == 2
    assert "unknown option: --framwork" in err
    assert "did you mean --framework? see `runner go --help`" in err


def test_unknown_global_options() -> None:
    """A mistyped option before the command is one of the program's own."""
    code, _, err = run("--verbos", "go")
    assert code == 2
    assert "did you mean --verbose? see `runner --help`" in err


def test_bad_values_and_missing_arguments() -> None:
    """A value of the wrong kind, a bad choice and a missing argument end with 2 and the command's usage."""
    assert run("go", "--jobs", "many")[0] == 2
    code, _, err = run("logs", "x", "--stream", "stdot")
    assert (code, "did you mean stdout?" in err) == (2, True)
    assert "error: --stream: stdot is none of stdout, stderr" in err
    code, _, err = run("go", "--archive", "zip")
    assert (code, err) == (
        2,
        "error: --archive: zip is none of zstd, gzip, off\n  -> did you mean gzip? see `runner go --help`\n",
    )
    code, _, err = run("show")
    assert (code, "missing: RUN" in err, "usage: runner show" in err) == (2, True, True)


def test_no_command_prints_the_help() -> None:
    """`runner` alone explains itself on stderr and is an error."""
    code, out, err = run()
    assert (code, out) == (2, "")
    assert err == help_texts()["runner"]


def test_global_options_stand_anywhere() -> None:
    """A global option means the same before and after the command."""
    assert parse(["-q", "-C", "go", "runs"]).project == "go"
    before, after = parse(["--no-color", "-C", "x", "runs"]), parse(["runs", "--no-color", "-C", "x"])
    assert (before.no_color, before.project) == (after.no_color, after.project) == (True, "x")
    assert before.command == after.command == "runs"


def test_options_stand_anywhere_among_arguments() -> None:
    """An option between a command's arguments is understood, and too many arguments still are too many."""
    for line in ("check --rebuild base ghspec", "check base --rebuild ghspec", "--rebuild check base ghspec"):
        args = parse(["images", *line.split()])
        assert (args.stage, args.names, args.rebuild) == ("check", ["base", "ghspec"], True)
    assert parse(["go", "--jobs", "2", "pilot", "--fresh"]).experiment == "pilot"
    with pytest.raises(ConfigError, match="too many arguments: more"):
        parse(["show", "run", "--json", "more"])


def ending(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make every command end with an error."""

    def fail(args: object, console: object) -> int:
        raise error

    monkeypatch.setattr(main_module, "load_command", lambda name: SimpleNamespace(run=fail))


def test_errors_become_text_and_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error ends the command with its own exit code and its three parts on stderr."""
    ending(monkeypatch, EngineError("no engine", why="no socket", hint="make engine"))
    assert run("runs") == (4, "", "error: no engine\n  no socket\n  -> make engine\n")


def test_interrupts_and_closed_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends with 130 and one sentence."""
    ending(monkeypatch, KeyboardInterrupt())
    code, out, err = run("runs")
    assert (code, out, err.count("\n")) == (130, "", 1)


def test_defects_leave_a_file_not_a_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An exception nobody expected ends with 7 and one clear error; the traceback is in the project's state folder."""
    for name in ("config", "images"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    ending(monkeypatch, ZeroDivisionError("\x1b[2Jzero"))
    code, out, err = run("runs")
    assert (code, out) == (7, "")
    assert "a defect of runner itself: ZeroDivisionError: \\x1b[2Jzero" in err
    assert "Traceback" not in err
    (kept,) = (tmp_path / ".runner").glob("crash-*.log")
    assert str(kept) in err
    assert "Traceback" in kept.read_text(encoding="utf-8")


def test_defects_outside_a_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Outside a project the traceback goes to the temporary folder, and no folder is made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ending(monkeypatch, ZeroDivisionError("zero"))
    assert run("runs")[0] == 7
    assert [one.name[:6] for one in tmp_path.iterdir()] == ["crash-"]


def test_errors_of_configuration_have_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """The place of a bad value stands before the sentence about it."""
    ending(monkeypatch, ConfigError("bad value", where="config/e.yaml:3"))
    assert run("runs") == (2, "", "error: config/e.yaml:3: bad value\n")


def test_every_exit_code_is_documented() -> None:
    """Each exit code has a meaning, and the reference names every command and code."""
    assert set(exit_codes()) == set(ExitCode)
    text = cli_reference()
    assert all(f"## runner {name}\n" in text for name in COMMANDS)
    assert all(f"| {int(code)} | " in text for code in ExitCode)


@pytest.mark.processes
def test_help_imports_no_command_and_no_third_party_package() -> None:
    """`runner --help` needs the standard library and four modules of this program."""
    script = (
        "import sys\nfrom runner.cli.main import main\n"
        "main(['--help'], environment={}, out=sys.stdout, err=sys.stderr)\n"
        "print(sorted(n for n in sys.modules if n.startswith('runner')), file=sys.stderr)\n"
        "foreign = [n for n, m in sys.modules.items() if 'site-packages' in (getattr(m, '__file__', '') or '')]\n"
        "print(foreign, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True, cwd=GOLDEN.parents[2]
    )
    modules, foreign = done.stderr.splitlines()
    assert modules == str(
        [
            "runner",
            "runner.cli",
            "runner.cli.commands",
            "runner.cli.console",
            "runner.cli.main",
            "runner.cli.parser",
            "runner.errors",
        ]
    )
    assert foreign == "[]"


def cpu_seconds(*argv: str) -> float:
    """Return the time of a core that a program takes, which what runs beside it changes little."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.processes
def test_help_is_quick() -> None:
    """`runner --help` takes at most eight times as long as an empty Python program."""
    program = "from runner.cli.main import entry; entry()"
    nothing, shown = [], []
    for _ in range(7):
        nothing.append(cpu_seconds(sys.executable, "-c", "pass"))
        shown.append(cpu_seconds(sys.executable, "-c", program, "--help"))
    assert min(shown) < 8 * min(nothing)


@pytest.mark.processes
def test_a_reader_that_leaves_is_no_error() -> None:
    """Output into a pipe that was closed ends quietly."""
    read, write = os.pipe()
    os.close(read)
    program = "from runner.cli.main import entry; entry()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--version"], stdout=write, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (130, "")


ENDLESS = """
import signal, sys, time
from types import SimpleNamespace
from runner.cli import main
def run(args, console):
    try:
        print("ready", flush=True)
        for _ in range(600):
            time.sleep(0.1)  # short, as a signal just before a sleep does not cut it short
    finally:
        print("put away", flush=True)
for name in sys.argv[1:]:
    signal.signal(getattr(signal, name), signal.SIG_IGN)
sys.argv[1:] = ["runs"]
main.load_command = lambda name: SimpleNamespace(run=run)
main.entry()
"""


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_put_things_away(number: signal.Signals) -> None:
    """Being told to end works like Ctrl-C in any command: what is under way cleans up, and the exit code is 130."""
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "put away\n")
    assert "interrupted; nothing is lost" in err


@pytest.mark.processes
def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    """A command under nohup outlives its terminal."""
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, "SIGHUP"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
