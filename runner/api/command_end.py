"""What a command in a container came to, put together from what the engine, the shim and the meters tell."""

from __future__ import annotations

from runner.api.command_result import CommandResult
from runner.engine.protocol import ImageInfo
from runner.evidence.layout import StepLayout
from runner.evidence.untrusted import ShimReport, read_shim_report
from runner.execution.contain import Ended
from runner.names import EXIT_TIMED_OUT, WORKSPACE_DIR

_MEASURED = ("cpu_seconds", "peak_memory_bytes")


def result_of(argv: tuple[str, ...], image: ImageInfo, files: StepLayout, ended: Ended) -> CommandResult:
    """Return what is known of a command whose container is over."""
    report, state, logs, usage = read_shim_report(files.outputs), ended.state, ended.logs, ended.usage
    timed_out = ended.overdue or bool(report and report.timed_out)
    seconds = (
        state.finished_at - state.started_at
        if state is not None and state.started_at is not None and state.finished_at is not None
        else None
    )
    return CommandResult(
        argv=argv,
        cwd=WORKSPACE_DIR,
        image_id=image.config_digest,
        stdout=_kept(files, "stdout"),
        stderr=_kept(files, "stderr"),
        dropped_stdout=(report.dropped_stdout if report else 0) + (logs.dropped_stdout if logs else 0),
        dropped_stderr=(report.dropped_stderr if report else 0) + (logs.dropped_stderr if logs else 0),
        exit_code=EXIT_TIMED_OUT if timed_out else state.exit_code if state is not None else None,
        signal=report.signal if report is not None else None,
        timed_out=timed_out,
        oom_killed=bool(state is not None and state.oom_killed) or bool(usage.oom_kills),
        seconds=report.seconds if report is not None and report.seconds is not None else seconds,
        cpu_seconds=usage.cpu_seconds,
        peak_memory_bytes=usage.peak_memory_bytes,
        reasons={name: why for name, why in usage.reasons.items() if name in _MEASURED},
        error=_error(ended, report),
        notes=tuple(ended.notes),
    )


def _error(ended: Ended, report: ShimReport | None) -> str:
    told = ended.state.error if ended.state is not None else ""
    return ended.error or told or (report.error if report is not None else "")


def _kept(files: StepLayout, stream: str) -> bytes:
    path = files.log(stream)
    return path.read_bytes() if path.is_file() else b""


def never_run(argv: tuple[str, ...], why: str) -> CommandResult:
    """Return the result of a command that could not be run."""
    return CommandResult(
        argv=argv,
        cwd=WORKSPACE_DIR,
        image_id="",
        stdout=b"",
        stderr=b"",
        dropped_stdout=0,
        dropped_stderr=0,
        exit_code=None,
        signal=None,
        timed_out=False,
        oom_killed=False,
        seconds=None,
        cpu_seconds=None,
        peak_memory_bytes=None,
        reasons=dict.fromkeys(_MEASURED, "the command was not run"),
        error=why,
    )
