"""What every engine must do, as checks that run on any: the fake one in unit tests, a real one in engine tests.

A new engine passes all of `CHECKS`, or it is not one. Give a check a `Lab`, made by `laboratory`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from runner.engine.protocol import Mount, NotFound
from runner.errors import EngineError
from runner.testing.deeds import LONG_LINE, MIB
from runner.testing.lab import LABEL, LIMITS, PATIENCE, Lab, expect


def exit_code_is_a_value(lab: Lab) -> None:
    """A command's exit code comes back as it is, with the times of start and end."""
    state, _ = lab.perform("exit")
    expect((state.status, state.exit_code, state.oom_killed), ("exited", 3, False), "state")
    expect(state.started_at is not None and state.finished_at is not None, True, "times known")
    expect((state.started_at or 0) <= (state.finished_at or 0), True, "end after start")
    expect(abs((state.finished_at or 0) - time.time()) < PATIENCE, True, "end about now")


def created_is_not_exited(lab: Lab) -> None:
    """A container that was never started has no exit code and no times."""
    state = lab.engine.observer.inspect(lab.create(lab.spec("nothing")))
    expect((state.status, state.exit_code, state.started_at, state.finished_at), ("created", None, None, None), "state")


def streams_are_kept_apart(lab: Lab) -> None:
    """What goes to stdout and what goes to stderr come back separately."""
    _, written = lab.perform("speak")
    expect(written, {"stdout": b"to out\n", "stderr": b"to err\n"}, "output")


def bytes_come_back_unchanged(lab: Lab) -> None:
    """Output that is not UTF-8, and a last line without an end, come back byte for byte."""
    _, written = lab.perform("bytes")
    expect(written["stdout"], b"\xff\xfea\x80\nend", "output")


def long_line_comes_back_whole(lab: Lab) -> None:
    """Five megabytes without a line end lose nothing, in pieces of bounded size."""
    container = lab.start("long line")
    lab.finish(container)
    sizes = [len(chunk) for _, chunk in lab.engine.observer.logs(container)]
    expect(sum(sizes), LONG_LINE, "bytes")


def following_ends_with_the_container(lab: Lab) -> None:
    """Following yields output while the container runs, and ends when the container does."""
    container = lab.start("sleep")
    pieces = lab.engine.observer.logs(container, follow=True)
    expect(next(pieces), ("stdout", b"ready\n"), "first piece")
    lab.engine.containers.stop(container, 0)
    expect(list(pieces), [], "pieces after the end")


def following_survives_removal(lab: Lab) -> None:
    """Following a container that is removed, or gone before, ends without an error."""
    container = lab.start("sleep")
    pieces = lab.engine.observer.logs(container, follow=True)
    next(pieces)
    lab.engine.containers.remove(container)
    expect(list(pieces), [], "pieces after removal")
    expect(list(lab.engine.observer.logs(container, follow=True)), [], "pieces of a missing container")


def logs_of_a_missing_container_are_an_error(lab: Lab) -> None:
    """Collecting what is not there any more is an error, not an empty log."""
    _refused(NotFound, lambda: list(lab.engine.observer.logs("cgr-no-such-container")))


def memory_is_limited_and_told(lab: Lab) -> None:
    """A program that wants more memory than it may have is killed, and the engine says why."""
    state, _ = lab.perform("eat", resources=replace(LIMITS, memory=64 * MIB))
    expect((state.exit_code, state.oom_killed), (137, True), "exit and reason")


def processes_are_limited(lab: Lab) -> None:
    """A program that forks without end is stopped by its limit, and everything it started ends with it."""
    state, written = lab.perform("fork", resources=replace(LIMITS, pids=32))
    expect(state.exit_code, 0, "exit code")
    expect(20 <= int(written["stdout"]) < 32, True, f"processes started ({written['stdout']!r}) within the limit")  # noqa: PLR2004  the limit above


def stop_is_polite(lab: Lab) -> None:
    """A program that heeds SIGTERM ends by it at once, long before the grace is over."""
    container = lab.start("sleep")
    lab.until_ready(container)
    began = time.monotonic()
    lab.engine.containers.stop(container, 30)
    expect(lab.finish(container).exit_code, 143, "exit code")
    expect(time.monotonic() - began < 15, True, "stopped well within the grace")  # noqa: PLR2004  half the grace


def stop_is_certain(lab: Lab) -> None:
    """A program that ignores SIGTERM is killed when the grace is over, and does not count as out of memory."""
    container = lab.start("stubborn")
    lab.until_ready(container)
    lab.engine.containers.stop(container, 1)
    state = lab.finish(container)
    expect((state.exit_code, state.oom_killed), (137, False), "exit and reason")


def stop_does_no_harm_twice(lab: Lab) -> None:
    """Stopping what has exited, or what is missing, changes nothing."""
    container = lab.start("exit")
    lab.finish(container)
    lab.engine.containers.stop(container, 1)
    expect(lab.engine.observer.inspect(container).exit_code, 3, "exit code afterwards")
    lab.engine.containers.stop("cgr-no-such-container", 1)


def signals_show_in_the_exit_code(lab: Lab) -> None:
    """A program ended by signal n exits with 128 + n, which is not yet a lack of memory."""
    killed, _ = lab.perform("killed")
    crashed, _ = lab.perform("crashed")
    expect((killed.exit_code, killed.oom_killed), (137, False), "killed")
    expect(crashed.exit_code, 139, "crashed")


def root_is_read_only(lab: Lab) -> None:
    """The root file system cannot be written, not even by its owner."""
    expect(lab.perform("write root", user="0:0")[0].exit_code, 30, "exit code of an attempt to write")


def network_is_loopback_only(lab: Lab) -> None:
    """There is no network device but loopback."""
    expect(lab.perform("interfaces")[1]["stdout"], b"lo\n", "devices")


def open_network_is_asked_for(lab: Lab) -> None:
    """On the engine's own network there is one more device, beside loopback."""
    _, written = lab.perform("interfaces", network="bridge")
    expect(sorted(written["stdout"].split()), [b"eth0", b"lo"], "devices")


def user_is_as_given(lab: Lab) -> None:
    """The program runs as the given user and group."""
    expect(lab.perform("identity")[1]["stdout"].decode().strip(), lab.user, "user")


def environment_is_as_given(lab: Lab) -> None:
    """Variables reach the program unchanged, and none of the runner's own do."""
    given = {"PATH": "/usr/bin:/bin", "RUNNER_GIVEN": "a b=c"}
    _, written = lab.perform("environment", env=given)
    expect(b"RUNNER_GIVEN=a b=c\n" in written["stdout"], True, "variable")


def mounts_are_as_given(lab: Lab) -> None:
    """A folder is mounted read-only where asked for, and a volume is written through to its folder."""
    given, work = lab.folder / "given", lab.folder / "work"
    for folder in (given, work):
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
    (given / "given").write_bytes(b"data")
    volume = f"cgr-conformance-{lab.tag}"
    lab.engine.volumes.create(volume, device=str(work), labels={LABEL: lab.tag})
    try:
        mounts = (
            Mount(source=str(given), target="/in", read_only=True),
            Mount(source=volume, target="/work", volume=True),
        )
        container = lab.start("copy", mounts=mounts)
        expect(lab.finish(container).exit_code, 0, "exit code")
        lab.engine.containers.remove(container)
    finally:
        lab.engine.volumes.remove(volume)
    expect((work / "taken").read_bytes(), b"data", "what was written")
    expect(sorted(path.name for path in given.iterdir()), ["given"], "read-only folder")


def volumes_are_found_by_label(lab: Lab) -> None:
    """Making a volume twice is fine, over another folder it is an error; removing it twice is fine and keeps the folder."""
    volumes, name = lab.engine.volumes, f"cgr-conformance-{lab.tag}"
    volumes.create(name, device=str(lab.folder), labels={LABEL: lab.tag})
    try:
        volumes.create(name, device=str(lab.folder), labels={LABEL: lab.tag})
        _refused(EngineError, lambda: volumes.create(name, device=str(lab.folder.parent), labels={LABEL: lab.tag}))
        expect(volumes.find({LABEL: lab.tag}), [(name, {LABEL: lab.tag})], "volumes found")
        expect(volumes.find({LABEL: "another"}), [], "volumes of another label")
    finally:
        volumes.remove(name)
    volumes.remove(name)
    expect(volumes.find({LABEL: lab.tag}), [], "volumes left")
    expect(lab.folder.is_dir(), True, "folder is still there")


def names_are_unique(lab: Lab) -> None:
    """A second container of the same name is refused, and the first is not harmed."""
    spec = lab.spec("nothing")
    first = lab.create(spec)
    _refused(EngineError, lambda: lab.create(spec))
    expect(lab.engine.observer.inspect(spec.name).id, first, "container of that name")


def removal_does_no_harm_twice(lab: Lab) -> None:
    """Removing kills what runs; removing again, or removing what never was, does nothing; then it is not found."""
    container = lab.start("sleep")
    for _ in range(2):
        lab.engine.containers.remove(container)
    lab.engine.containers.remove("cgr-no-such-container")
    _refused(NotFound, lambda: lab.engine.observer.inspect(container))
    _refused(NotFound, lambda: lab.engine.containers.wait(container, 1.0))


def labels_find_containers(lab: Lab) -> None:
    """Containers are found in any state by one or several labels, sorted by name."""
    made = [lab.create(lab.spec("nothing")), lab.start("exit")]
    lab.finish(made[1])
    find = lab.engine.observer.find
    expect([state.id for state in find({LABEL: lab.tag})], made, "containers of this check")
    expect([state.exit_code for state in find({LABEL: lab.tag, f"{LABEL}.deed": "exit"})], [3], "both labels")
    expect(find({LABEL: lab.tag, f"{LABEL}.other": None}), [], "a label none has")
    expect(find({LABEL: None, f"{LABEL}.deed": "nothing"})[0].labels[f"{LABEL}.deed"], "nothing", "any value")


def waiting_has_an_end(lab: Lab) -> None:
    """Waiting gives None when its time is up, and the container runs on."""
    container = lab.start("sleep")
    began = time.monotonic()
    expect(lab.engine.containers.wait(container, 0.3), None, "state")
    expect(0.25 <= time.monotonic() - began < 10, True, "time waited")  # noqa: PLR2004  about 0.3 s
    expect(lab.engine.observer.inspect(container).status, "running", "status")


def starting_twice_is_starting_once(lab: Lab) -> None:
    """Starting a running container does nothing."""
    container = lab.start("sleep")
    started = lab.engine.observer.inspect(container).started_at
    lab.engine.containers.start(container)
    expect(lab.engine.observer.inspect(container).started_at, started, "time of start")


def use_is_exact_after_the_end(lab: Lab) -> None:
    """CPU time and peak memory of an ended, removed container are known in full, and belong to it alone."""
    if not lab.spec("burn").cgroup_parent:
        return
    spec = lab.spec("burn")
    container = lab.create(spec)
    lab.engine.containers.start(container)
    lab.finish(container)
    lab.engine.containers.remove(container)
    usage = lab.engine.observer.usage(container, spec.cgroup_parent)
    cpu, peak = usage.cpu_seconds or 0.0, usage.peak_memory_bytes or 0
    expect(1.0 <= cpu < 5, True, f"CPU seconds ({cpu})")  # noqa: PLR2004  1.2 s and the interpreter's start
    expect(200 * MIB <= peak <= LIMITS.memory, True, f"peak memory ({peak})")
    expect((usage.sources["cpu_seconds"], usage.sources["peak_memory_bytes"]), ("cgroup", "cgroup"), "sources")


def released_use_is_gone(lab: Lab) -> None:
    """After release, and releasing twice, nothing of the parent cgroup is left and its use is unknown, with a reason."""
    spec = lab.spec("nothing")
    container = lab.create(spec)
    lab.engine.containers.start(container)
    lab.finish(container)
    lab.engine.containers.remove(container)
    for _ in range(2):
        lab.engine.observer.release([spec.cgroup_parent] if spec.cgroup_parent else [])
    usage = lab.engine.observer.usage(container, spec.cgroup_parent)
    expect((usage.cpu_seconds, usage.peak_memory_bytes), (None, None), "use")
    expect(bool(usage.reasons["cpu_seconds"] and usage.reasons["peak_memory_bytes"]), True, "reasons given")


def images_are_found(lab: Lab) -> None:
    """An image is found by its id; one that is not there is None, and removing it does nothing."""
    image = lab.engine.images.inspect(lab.image)
    expect(image is not None and image.id == lab.image, True, "image by id")
    expect(lab.engine.images.inspect("codegen-runner/no-such-image:1"), None, "missing image")
    lab.engine.images.remove("codegen-runner/no-such-image:1")


def _refused(kind: type[Exception], act: Callable[[], object]) -> None:
    try:
        act()
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was expected")


CHECKS: tuple[Callable[[Lab], None], ...] = (
    exit_code_is_a_value,
    created_is_not_exited,
    streams_are_kept_apart,
    bytes_come_back_unchanged,
    long_line_comes_back_whole,
    following_ends_with_the_container,
    following_survives_removal,
    logs_of_a_missing_container_are_an_error,
    memory_is_limited_and_told,
    processes_are_limited,
    stop_is_polite,
    stop_is_certain,
    stop_does_no_harm_twice,
    signals_show_in_the_exit_code,
    root_is_read_only,
    network_is_loopback_only,
    open_network_is_asked_for,
    user_is_as_given,
    environment_is_as_given,
    mounts_are_as_given,
    volumes_are_found_by_label,
    names_are_unique,
    removal_does_no_harm_twice,
    labels_find_containers,
    waiting_has_an_end,
    starting_twice_is_starting_once,
    use_is_exact_after_the_end,
    released_use_is_gone,
    images_are_found,
)
"""The whole suite, in the order of a container's life."""
