"""What the fakes offer beyond an engine: faults, programs by image, images, totals."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from runner.engine.protocol import ContainerSpec, Engine, NotFound, Resources
from runner.errors import EngineError, ImageError
from runner.gateway.session import Gateway, SessionSpec, Totals
from runner.spec.model import Model
from runner.testing import NO_CALLS, Box, FakeEngine, FakeGateway

LIMITS = Resources(cpus=1, memory=2**26, swap=0, pids=64, tmp=2**20, shm=2**20, log=2**20)


def _spec(name: str = "one", image: str = "sha256:1", argv: tuple[str, ...] = ("do",)) -> ContainerSpec:
    return ContainerSpec(
        name=name, image=image, argv=argv, env={}, user="1:1", workdir="/", mounts=(), resources=LIMITS, labels={}
    )


def _exit_code(engine: FakeEngine, spec: ContainerSpec) -> int | None:
    container = engine.containers.create(spec)
    engine.containers.start(container)
    state = engine.containers.wait(container, 60)
    engine.containers.remove(container)
    assert state is not None
    return state.exit_code


def _archive(labels: dict[str, str], tag: str) -> bytes:
    config = json.dumps({"config": {"Labels": labels}}).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [tag], "Layers": []}]).encode()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in (("config.json", config), ("manifest.json", manifest)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


def test_fakes_fit_the_protocols(tmp_path: Path) -> None:
    """The fakes can stand wherever an engine or a gateway is asked for."""
    engine: Engine = FakeEngine()
    gateway: Gateway = FakeGateway(tmp_path)
    assert engine.info().has_init
    assert gateway is not None


def test_a_fault_comes_once_and_before_anything_happens() -> None:
    """A fault hits the next call of its kind only, and leaves nothing behind."""
    engine = FakeEngine()
    engine.fail_next("create", EngineError("no space left"))
    with pytest.raises(EngineError, match="no space left"):
        engine.containers.create(_spec())
    assert engine.specs == []
    engine.containers.create(_spec())
    assert engine.calls == ["create", "create"]


def test_a_fault_for_no_call_is_a_mistake() -> None:
    """A fault for a call that does not exist is refused with the nearest one."""
    with pytest.raises(ValueError, match=r"no call 'strat'; nearest: \['start'\]"):
        FakeEngine().fail_next("strat", EngineError("x"))


def test_the_latest_fitting_program_runs() -> None:
    """Programs are chosen by image and by the last words of the command; without one the exit code is 127."""
    engine = FakeEngine()
    assert _exit_code(engine, _spec()) == 127
    engine.register(lambda _: 1)
    engine.register(lambda _: 2, image="sha256:2")
    engine.register(lambda _: 3, argv=("do", "it"))
    assert _exit_code(engine, _spec()) == 1
    assert _exit_code(engine, _spec(image="sha256:2")) == 2
    assert _exit_code(engine, _spec(argv=("/shim", "--", "do", "it"))) == 3
    assert _exit_code(engine, _spec(argv=("it",))) == 1


def test_killed_from_outside() -> None:
    """A container killed from outside shows 137 and no lack of memory."""
    engine = FakeEngine()
    engine.register(lambda box: box.sleep(60) or 0)  # type: ignore[func-returns-value]  # sleep, then 0
    container = engine.containers.create(_spec())
    engine.containers.start(container)
    engine.kill(container)
    state = engine.observer.inspect(container)
    assert (state.exit_code, state.oom_killed) == (137, False)


def test_a_program_may_clean_up() -> None:
    """A program that catches the polite signal goes on until it is done, and its own exit code counts."""
    engine = FakeEngine()

    def tidy(box: Box) -> int:
        try:
            box.write(b"ready")
            box.sleep(60)
        finally:
            box.write(b"tidied")
        return 0

    engine.register(tidy)
    container = engine.containers.create(_spec())
    engine.containers.start(container)
    next(engine.observer.logs(container, follow=True))
    engine.containers.stop(container, 60)
    assert b"".join(chunk for _, chunk in engine.observer.logs(container)) == b"readytidied"


def test_images_come_and_go() -> None:
    """Images are built, found by label and tag, and removed with their last tag unless a container uses them."""
    engine = FakeEngine()
    list(engine.images.build(io.BytesIO(b"context"), args={}, labels={"a": "1"}, tag="x:1"))
    image = engine.images.inspect("x:1")
    assert image is not None
    assert engine.images.find({"a": None}) == [image]
    assert engine.images.find({"a": "2"}) == []
    container = engine.containers.create(_spec(image=image.id))
    engine.images.remove("x:1")
    assert engine.images.inspect(image.id) == image
    engine.containers.remove(container)
    engine.images.remove("x:1")
    assert engine.images.inspect(image.id) is None


def test_an_archive_is_loaded_and_saved() -> None:
    """A `docker save` archive keeps its id, labels and tag, takes the tag from another image, and comes out again."""
    engine = FakeEngine()
    other = engine.add_image("x:1")
    data = _archive({"a": "1"}, "x:1")
    list(engine.images.transfer(io.BytesIO(data)))
    image = engine.images.inspect("x:1")
    assert image is not None
    assert (image.labels, image.tags) == ({"a": "1"}, ("x:1",))
    assert image.id != other
    assert b"".join(engine.images.transfer(save="x:1")) == data
    moved = engine.images.inspect(other)
    assert moved is not None
    assert moved.tags == ()
    with pytest.raises(NotFound):
        engine.images.transfer(save="y:1")
    with pytest.raises(ImageError):
        engine.images.transfer(io.BytesIO(b"no archive"))


def test_the_gateway_counts_sessions(tmp_path: Path) -> None:
    """Sessions have a folder and a token of their own while open, and the scripted totals when closed."""
    totals = Totals(**{**vars(NO_CALLS), "api_calls": 3, "tokens_in": 40})
    gateway = FakeGateway(tmp_path, lambda spec: totals if spec.attempt == 1 else NO_CALLS)
    specs = [
        SessionSpec(
            run="r",
            framework="f",
            scenario="s",
            step="one",
            index=1,
            attempt=attempt,
            model=Model(),
            answers=None,
            calls_file=tmp_path / "calls",
        )
        for attempt in (1, 2)
    ]
    sessions = [gateway.open(spec) for spec in specs]
    assert len({session.token for session in sessions}) == 2
    assert all(session.directory.is_dir() for session in sessions)
    assert [gateway.close(session) for session in sessions] == [totals, NO_CALLS]
    assert gateway.opened == specs
    assert gateway.open_sessions == {}


def test_an_engine_that_restarts_takes_its_containers_with_it() -> None:
    """What runs is killed, what follows meets another incarnation, and absence says what a test wants it to."""
    engine = FakeEngine()

    def rest(box: Box) -> int:
        box.sleep(60)
        return 0

    engine.register(rest)
    container, before = engine.containers.create(_spec()), engine.incarnation()
    engine.containers.start(container)
    engine.restart()
    assert engine.observer.inspect(container).exit_code == 137
    assert engine.incarnation() != before
    assert engine.absence() == ""
    engine.away = "gone"
    assert engine.absence() == "gone"
