"""Stop single runs, or everything, from another terminal."""

from __future__ import annotations

import os
import pwd
import signal
import time
from collections.abc import Mapping
from pathlib import Path

from runner.cli.console import Console
from runner.cli.finding import Place, find_own_run, find_run, read_record
from runner.engine.docker import connect
from runner.engine.owner import current
from runner.errors import ConfigError, ExitCode, StorageError
from runner.evidence.records import RunRecord
from runner.execution.abandon import cancel_cut_off
from runner.execution.claim import claim, holder
from runner.execution.control import ask_to_cancel
from runner.gateway.settings import runtime_folder
from runner.ledger.rows import LedgerRow
from runner.ledger.store import ledger_path, open_ledger

_LOOK_AGAIN = 0.1


def cancel_all(console: Console, output: Path, *, wait: bool, at_once: bool) -> int:
    """Stop the runner at work, like Ctrl-C in its terminal.

    Args:
        console: where it is told.
        output: folder of run directories.
        wait: whether to return only when it has ended.
        at_once: whether it is not to keep the evidence now; the next `go` does.

    Raises:
        ConfigError: if no runner is at work.
        StorageError: if it is another user's.
    """
    pid = holder(output)
    if not pid:
        raise _nobody(output)
    try:
        os.kill(pid, signal.SIGTERM)
        if at_once and holder(output) == pid:
            # Another one than the first: two of a kind are one to a process that has not looked yet.
            os.kill(pid, signal.SIGINT)
    except ProcessLookupError:
        pass
    except PermissionError as error:
        owner = pwd.getpwuid(Path(f"/proc/{pid}").stat().st_uid).pw_name
        raise StorageError(
            f"the runner at work (process {pid}) belongs to {owner}", why=str(error), hint=f"ask {owner} to stop it"
        ) from error
    console.say(f"process {pid} was told to stop{'' if at_once else '; it keeps the evidence of what is under way'}")
    while wait and holder(output) == pid:
        time.sleep(_LOOK_AGAIN)
    if wait:
        console.say("it has ended; `runner go`, with the same arguments, continues")
    return ExitCode.PASSED


def cancel_run(console: Console, output: Path, text: str, environment: Mapping[str, str], *, wait: bool) -> int:
    """Stop one run and let the others go on; one that has not begun is left out of the `go` at work.

    A run whose runner has ended before it did is ended here and now, its containers with it.

    Args:
        console: where it is told.
        output: folder of run directories.
        text: the run, as a person types it.
        environment: settings such as DOCKER_HOST.
        wait: whether to return only when it has ended.

    Raises:
        ConfigError: if there is no such run, it has ended, or has not begun and no runner is at work.
        EngineError: if no runner is at work and the engine does not answer.
        StorageError: if the request cannot be written, or what is left of the run cannot be kept.
    """
    framework, run_id, begun = _find(output, text)
    pid = holder(output)
    if pid is None and begun:
        return _end_cut_off(console, output, find_run(output, f"{framework}/{run_id}"), environment)
    if pid is None:
        raise _nobody(output)
    request = ask_to_cancel(output, framework, run_id)
    if not begun:
        console.say(f"{framework}/{run_id} will not begin; the next `runner go` has it again")
        return ExitCode.PASSED
    console.say(f"{framework}/{run_id} is to be stopped; its evidence is kept")
    while wait and request.exists() and holder(output) == pid:
        time.sleep(_LOOK_AGAIN)
    if wait:
        console.say(_what_became(output, f"{framework}/{run_id}", pid))
    return ExitCode.PASSED


def _what_became(output: Path, name: str, pid: int) -> str:
    """Say how a run ended that a runner was asked to stop, or why it has not."""
    record = read_record(find_run(output, name))
    if record.outcome is not None:
        return _ending(record)
    if holder(output) == pid:
        return "it was not at work, and this `runner go` leaves it out; the next one goes on with it"
    return f"it has not ended, but its runner (process {pid}) has; the next `runner go` goes on with it"


def _end_cut_off(console: Console, output: Path, place: Place, environment: Mapping[str, str]) -> int:
    """Finalise a run that nobody carries out any more."""
    name = f"{place.framework}/{place.run_id}"
    with claim(output), connect(environment) as engine, open_ledger(ledger_path(output)) as ledger:
        # Whoever held the folder a moment ago may have ended it.
        record = read_record(place)
        if record.outcome is None:
            runtime = runtime_folder(environment)
            record = cancel_cut_off(engine, ledger, current(), place.layout, record, runtime=runtime)
    console.say(f"{name} had been cut off; {_ending(record)}")
    return ExitCode.PASSED


def _ending(record: RunRecord) -> str:
    return f"it has ended: {record.outcome}{f': {record.reason}' if record.reason else ''}"


def _find(output: Path, text: str) -> tuple[str, str, bool]:
    """Return framework and id of a run that can be stopped, and whether it has begun."""
    planned = _planned(output, text)
    if planned is not None:
        return planned.framework, planned.run_id, False
    place = find_own_run(output, text)
    record = read_record(place)
    name = f"{place.framework}/{place.run_id}"
    if record.outcome is not None:
        raise ConfigError(f"{name} has ended: {record.outcome}", hint=f"runner show {name}")
    if record.suspended:
        raise ConfigError(
            f"{name} waits for approval, and nothing of it runs", hint=f"runner reject {name}   ends the step that asks"
        )
    return place.framework, place.run_id, True


def _planned(output: Path, text: str) -> LedgerRow | None:
    """Return a run of this name that is planned and has no directory yet."""
    path = ledger_path(output)
    if not path.exists():
        return None
    with open_ledger(path) as ledger:
        rows = ledger.rows(states=("planned",))
    names = [row for row in rows if text in {row.run_id, f"{row.framework}/{row.run_id}"} and not row.waits_for]
    return names[0] if len(names) == 1 and not (output / names[0].directory).exists() else None


def _nobody(output: Path) -> ConfigError:
    return ConfigError(
        f"no runner is at work in {output}",
        why="there is nothing to stop: what was cut off is kept, and goes on with the next `runner go`",
        hint="runner runs   lists the runs; `runner cancel RUN` gives one up that was cut off",
    )
