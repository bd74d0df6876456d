"""Run any command in a container as a step runs, and return all that is known of it as a value."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.api.command_end import never_run, result_of
from runner.api.command_result import CommandFailed, CommandResult
from runner.api.place import settings, workplace
from runner.api.turn import turn
from runner.cli.image_stage import image_context
from runner.engine.cgroup import parent_name
from runner.engine.docker import connect
from runner.engine.gpus import write_gpus
from runner.engine.owner import current
from runner.engine.protocol import ContainerSpec, Engine, ImageInfo, Mount, Resources
from runner.errors import ConfigError, EngineError, RunnerError
from runner.events import EventSink
from runner.evidence.layout import StepLayout
from runner.execution.cancellation import Cancellation
from runner.execution.command_folder import command_folder
from runner.execution.contain import Job, contain
from runner.execution.container import FIXED_ENVIRONMENT, device_variables
from runner.execution.gate import Gate, for_a_while
from runner.images.pipeline import ensure
from runner.names import (
    IN_DIR,
    LABEL_CGROUP,
    LABEL_CPUS,
    LABEL_GPUS,
    LABEL_INPUTS,
    LABEL_KIND,
    LABEL_MEMORY,
    LABEL_RUN_DIR,
    OUT_DIR,
    SHIM,
    STATE_DIR,
    STDIN_FILE,
    WORKSPACE_DIR,
)
from runner.plan.limits import merge_limits
from runner.spec.models import Limits, LimitsPatch


def run_command(
    argv: Sequence[str],
    *,
    image: str,
    workspace: str | Path | None = None,
    stdin: bytes | Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 600.0,
    limits: LimitsPatch | None = None,
    network: str = "none",
    check: bool = False,
    patience: float = 60.0,
    longest_wait: float | None = None,
    on_event: EventSink | None = None,
    project: str | Path | None = None,
    engine: Engine | None = None,
    process_environment: Mapping[str, str] | None = None,
) -> CommandResult:
    """Run a command in a fresh container that has what a step's container has, and remove it afterwards.

    The root file system is read-only; there are no capabilities; /tmp, HOME and /out are gone afterwards. It takes its
    turn among all runners of the machine, as a step does. A command, image or engine that fails is part of the result.

    Args:
        argv: program and arguments; no shell is involved.
        image: name of a recipe of the project, which is built if needed; else a tag or an id that the engine has.
        workspace: host folder that is /workspace, writable, and the working directory; by default an empty one.
        stdin: bytes, or a file with them.
        environment: variables besides the fixed ones of every step.
        timeout: seconds until it is ended, with exit code 124.
        limits: what it may use, in place of the defaults of `limits` in an experiment; `timeout` outranks its own.
        network: `none`, or `bridge` for the engine's own network.
        check: whether to raise unless it exits with 0.
        patience: seconds for which an engine that goes away is waited for; a container that runs goes on meanwhile.
        longest_wait: seconds to wait for its turn, besides `timeout`; then it is not run. None: as long as it takes.
        on_event: told when waiting for an engine begins and ends, and what it waits for before its turn.
        project: folder whose project has the recipe; by default the one at or above the current folder.
        engine: an engine to use; by default the one that the command line would use.
        process_environment: settings such as DOCKER_HOST; by default the process's own.

    Raises:
        ConfigError: if the arguments cannot be used.
        CommandFailed: with `check`, if it did not run and exit with 0; its `result` has everything.
    """
    order = _Order(
        argv=_checked(argv, timeout, network, patience, longest_wait),
        image=image,
        workspace=_folder(workspace),
        stdin=_bytes(stdin),
        environment=environment or {},
        timeout=timeout,
        limits=merge_limits(Limits(), limits or LimitsPatch()),
        network=network,
        patience=patience,
        longest_wait=longest_wait,
        tell=on_event or (lambda _: None),
        project=project,
        settings=settings(process_environment),
    )
    return _ok(_carried_out(order, engine)) if check else _carried_out(order, engine)


def _ok(result: CommandResult) -> CommandResult:
    if not result.ok:
        raise CommandFailed(result)
    return result


@dataclass(frozen=True, kw_only=True)
class _Order:
    """A call whose arguments have been checked."""

    argv: tuple[str, ...]
    image: str
    workspace: Path | None
    stdin: bytes
    environment: Mapping[str, str]
    timeout: float
    limits: Limits
    network: str
    patience: float
    longest_wait: float | None
    tell: EventSink
    project: str | Path | None
    settings: Mapping[str, str]


def _checked(
    argv: Sequence[str], timeout: float, network: str, patience: float, longest_wait: float | None
) -> tuple[str, ...]:
    if isinstance(argv, str) or not argv or not all(isinstance(one, str) and "\0" not in one for one in argv):
        raise ConfigError(f"{argv!r} is no command", why="it is a list of texts without NUL, the program first")
    if not 0 < timeout < float("inf"):
        raise ConfigError(f"timeout={timeout!r} is no time", why="it is seconds, above 0")
    if not 0 <= patience < float("inf"):
        raise ConfigError(f"patience={patience!r} is no time", why="it is seconds, 0 or more")
    if longest_wait is not None and not 0 <= longest_wait < float("inf"):
        raise ConfigError(f"longest_wait={longest_wait!r} is no time", why="it is seconds, 0 or more, or None")
    if network not in {"none", "bridge"}:
        raise ConfigError(f"there is no network {network!r}", why="choices: none, bridge")
    return tuple(argv)


def _folder(workspace: str | Path | None) -> Path | None:
    if workspace is None:
        return None
    path = Path(workspace).absolute()
    if not path.is_dir():
        raise ConfigError(f"workspace {path} is no folder", hint=f"mkdir -p {path}")
    return path


def _bytes(stdin: bytes | Path | None) -> bytes:
    if stdin is None or isinstance(stdin, bytes):
        return stdin or b""
    try:
        return stdin.read_bytes()
    except OSError as error:
        raise ConfigError(f"stdin cannot be read: {error.strerror}", where=str(stdin)) from error


def _carried_out(order: _Order, engine: Engine | None) -> CommandResult:
    """Run the command, or say in the result why not."""
    try:
        with contextlib.nullcontext(engine) if engine is not None else connect(order.settings) as used:
            return _run(order, used)
    except (RunnerError, OSError) as error:
        return never_run(order.argv, str(error))


def _run(order: _Order, engine: Engine) -> CommandResult:
    gate, cancellation = Gate(engine=for_a_while(engine.absence, order.patience)), Cancellation()
    gate.reach(cancellation, order.tell)
    image = _image(order, engine)
    name = f"cgr-command-{secrets.token_hex(8)}"
    with _folders(order) as files, _turn(order, engine, name) as gpus:
        spec = _spec(order, engine, image, files, name, gpus)
        job = Job(
            engine=engine,
            spec=spec,
            deadline=order.timeout,
            grace=order.limits.grace,
            log=order.limits.log,
            files=files,
            cancellation=cancellation,
            spent=[],
            shimmed=_has_shim(image),
            gate=gate,
            tell=order.tell,
        )
        ended = contain(job)
        result = result_of(order.argv, image, files, ended)
        with contextlib.suppress(EngineError):  # an empty cgroup that stays is found and removed at the next start
            engine.observer.release(job.spent)
        return result


def _turn(order: _Order, engine: Engine, name: str) -> contextlib.AbstractContextManager[tuple[str, ...]]:
    return turn(
        engine,
        order.limits,
        name,
        image=order.image,
        program=order.argv[0],
        longest=order.longest_wait,
        tell=order.tell,
        settings=order.settings,
    )


def _image(order: _Order, engine: Engine) -> ImageInfo:
    """Return the image meant: a recipe's if the project has it, else what the engine knows by that name."""
    reference = order.image
    with contextlib.suppress(ConfigError):  # outside of a project there are no recipes, only tags and ids
        place = workplace(order.project, order.settings)
        if "/" not in reference and (place.project.images / reference).is_dir():
            built = ensure(image_context(place, engine), [reference])[reference]
            if isinstance(built, RunnerError):
                raise EngineError(f"image {reference} cannot be had: {built}")
            reference = built.engine_id
    found = engine.images.inspect(reference)
    if found is None:
        raise EngineError(
            f"there is no image {order.image!r}", why="neither a recipe of the project nor a tag or id in the engine"
        )
    return found


def _has_shim(image: ImageInfo) -> bool:
    """Tell whether an image is one of ours, whose base brings the shim."""
    return bool(image.labels.get(LABEL_INPUTS))


@contextlib.contextmanager
def _folders(order: _Order) -> Iterator[StepLayout]:
    with command_folder() as root:
        files = StepLayout(root)
        for folder in (files.inputs, files.outputs, root / "workspace", root / "state" / "home"):
            folder.mkdir(parents=True)
        (files.inputs / STDIN_FILE).write_bytes(order.stdin)
        yield files


def _spec(  # noqa: PLR0917  what a container is made of, in one place
    order: _Order, engine: Engine, image: ImageInfo, files: StepLayout, name: str, gpus: tuple[str, ...]
) -> ContainerSpec:
    info, owner, limits = engine.info(), current(), order.limits
    parent = parent_name(info, name)
    mounts = {
        WORKSPACE_DIR: order.workspace or files.root / "workspace",
        STATE_DIR: files.root / "state",
        IN_DIR: files.inputs,
        OUT_DIR: files.outputs,
    }
    gid = owner.uid if owner.gid is None else owner.gid
    return ContainerSpec(
        name=name,
        image=image.id,
        argv=_argv(order, shimmed=_has_shim(image)),
        env={**FIXED_ENVIRONMENT, **order.environment, **device_variables(info, gpus)},
        user="0:0" if info.rootless else f"{owner.uid}:{gid}",
        workdir=WORKSPACE_DIR,
        mounts=tuple(
            Mount(source=str(path), target=target, read_only=target == IN_DIR) for target, path in mounts.items()
        ),
        resources=Resources(
            cpus=limits.cpus,
            memory=limits.memory,
            swap=limits.swap,
            pids=limits.pids,
            tmp=limits.tmp,
            shm=limits.shm,
            log=limits.log,
        ),
        labels={
            **owner.labels(),
            LABEL_KIND: "command",
            LABEL_RUN_DIR: str(files.root),
            LABEL_CPUS: str(limits.cpus),
            LABEL_MEMORY: str(limits.memory),
            **({LABEL_GPUS: write_gpus(gpus)} if gpus else {}),
            LABEL_CGROUP: parent or "",
        },
        gpus=gpus,
        cgroup_parent=parent,
        network=order.network,
    )


def _argv(order: _Order, *, shimmed: bool) -> tuple[str, ...]:
    stdin = f"{IN_DIR}/{STDIN_FILE}"
    if not shimmed:
        return ("sh", "-c", f'exec "$@" <{stdin}', "sh", *order.argv) if order.stdin else order.argv
    limits = order.limits
    options = (f"--deadline={order.timeout:.3f}", f"--grace={limits.grace:g}", f"--log-limit={limits.log}")
    return (SHIM, *options, f"--stdin={stdin}", "--", *order.argv)
