"""The gateway process itself: how it starts, who may steer it, and that it leaves nothing behind."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from runner.gateway.client import GatewayProcess, start_gateway
from runner.gateway.leftovers import abandoned, hold, new_folder, own, remove_leftovers
from runner.gateway.session import GatewayError, SessionSpec
from runner.gateway.settings import GatewaySettings

pytestmark = pytest.mark.processes

Spec = Callable[..., SessionSpec]
ANSWERS = "version: 1\nsteps: {one: [{content: x}]}"


def test_client_imports_no_server() -> None:
    """An experiment without a model pays for no web server: the client's modules import none."""
    modules = "runner.gateway.client, runner.gateway.settings, runner.gateway.labels, runner.gateway.calls"
    code = f"import sys, {modules}; sys.exit('aiohttp' in sys.modules or 'asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_block_ends_with_nothing_left(settings: GatewaySettings, make_spec: Spec) -> None:
    """When the block ends, the process has ended and its folder with all sockets is gone, open sessions or not."""
    with start_gateway(settings) as gateway:
        assert isinstance(gateway, GatewayProcess)
        session = gateway.open(make_spec(answers=ANSWERS))
        assert gateway.folder.stat().st_mode & 0o777 == 0o700
        assert session.directory.stat().st_mode & 0o777 == 0o700
    assert not gateway.folder.exists()
    assert isinstance(gateway.process, subprocess.Popen)
    assert gateway.process.returncode == 0
    with pytest.raises(GatewayError):
        gateway.open(make_spec(answers=ANSWERS))


def test_gateway_that_cannot_start_is_said(settings: GatewaySettings, make_spec: Spec) -> None:
    """If the process fails at its start, the first open quotes what it said last."""
    broken = dataclasses.replace(settings, read_timeout="soon")  # type: ignore[arg-type]
    with start_gateway(broken) as gateway, pytest.raises(GatewayError, match="did not start") as error:
        gateway.open(make_spec(answers=ANSWERS))
    assert "read_timeout" in error.value.why


def test_gateway_ends_with_its_parent(tmp_path: Path, wait_until: Any) -> None:
    """If the parent is killed, the process ends by itself and removes its folder."""
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from runner.gateway.client import GatewayProcess\n"
        "from runner.gateway.settings import GatewaySettings\n"
        f"settings = GatewaySettings(key=None, base_url='', runtime=Path({str(tmp_path)!r}))\n"
        "gateway = GatewayProcess(settings)\n"
        "gateway._await_ready()\n"
        "print(gateway.pid, gateway.folder, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pid, folder = done.stdout.split()
    assert done.returncode == -signal.SIGKILL
    wait_until(lambda: not Path(folder).exists())
    wait_until(lambda: not _lives(int(pid)))


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def test_interrupt_of_the_terminal_is_left_to_the_parent(gateway: GatewayProcess, make_spec: Spec) -> None:
    """SIGINT does not end the process, and it is in a session of its own."""
    gateway.close(gateway.open(make_spec(answers=ANSWERS)))
    os.kill(gateway.pid, signal.SIGINT)
    gateway.close(gateway.open(make_spec(answers=ANSWERS)))
    assert os.getsid(gateway.pid) == gateway.pid


def test_process_may_open_as_many_files_as_it_is_allowed_to(settings: GatewaySettings, make_spec: Spec) -> None:
    """The soft limit, which is meant for one program's files, does not bound the connections of all runs."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most - 1, most))
    try:
        with start_gateway(settings) as gateway:
            gateway.open(make_spec(answers=ANSWERS))
            assert isinstance(gateway, GatewayProcess)
            assert resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE) == (most, most)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


def test_leftover_folder_is_removed_and_a_held_one_kept(tmp_path: Path) -> None:
    """Only folders go whose lock is there and free; those that are held, and other names, stay."""
    names = ["cgr-old", "cgr-held", "other"]
    for name in names:
        (tmp_path / name).mkdir()
        os.close(hold(tmp_path / name))
    holder = hold(tmp_path / "cgr-held")
    assert abandoned(tmp_path) == [tmp_path / "cgr-old"]
    assert remove_leftovers(tmp_path) == [tmp_path / "cgr-old"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names[1:])
    os.close(holder)


def test_folder_of_a_runner_that_died_at_its_start(tmp_path: Path) -> None:
    """A folder without a lock is nobody's and goes at once, but not while some runner is just making one."""
    dead = tmp_path / "cgr-dead"
    dead.mkdir()
    making = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(making, fcntl.LOCK_SH)
    assert abandoned(tmp_path) == remove_leftovers(tmp_path) == []
    fcntl.flock(making, fcntl.LOCK_UN)
    assert abandoned(tmp_path) == [dead]
    assert remove_leftovers(tmp_path) == [dead]
    os.close(making)


def test_folders_that_are_being_made_stay(tmp_path: Path) -> None:
    """Many runners that begin at once, each looking for leftovers first, do not take away each other's folders."""
    kept = []

    def begin() -> None:
        for _ in range(30):
            remove_leftovers(tmp_path)
            folder, *locks = new_folder(tmp_path, None)
            kept.append((folder, locks))

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(kept) == 180
    assert all((folder / "lock").exists() for folder, _ in kept)
    for fd in (fd for _, locks in kept for fd in locks):
        os.close(fd)
    assert len(remove_leftovers(tmp_path)) == 180


def test_gateway_that_outlives_its_runner_is_waited_for(tmp_path: Path) -> None:
    """What it still writes down is on disk before its folder is taken for left behind; one of a live runner stays."""
    folder, last_words = tmp_path / "cgr-old", tmp_path / "said"
    folder.mkdir()
    held, alive = hold(folder), own(folder)
    assert remove_leftovers(tmp_path) == []
    code = "import pathlib, sys, time; time.sleep(0.5); pathlib.Path(sys.argv[1]).touch()"
    with subprocess.Popen([sys.executable, "-c", code, last_words], pass_fds=(held,)):
        os.close(held)
        os.close(alive)
        assert remove_leftovers(tmp_path) == [folder]
        assert last_words.exists()


@pytest.mark.parametrize("stream", [False, True])
def test_disk_that_takes_no_record_fails_the_call(
    gateway: GatewayProcess, make_spec: Spec, sdk: Any, *, stream: bool
) -> None:
    """A call that cannot be recorded is not answered: nothing a framework acted on is missing from the evidence."""
    spec = make_spec(answers=ANSWERS)
    spec.calls_file.parent.mkdir(parents=True)
    spec.calls_file.symlink_to("/dev/full")
    session = gateway.open(spec)
    messages: Any = [{"role": "user", "content": "x"}]
    with pytest.raises(openai.APIError, match="cannot be recorded"):
        list(sdk(session).chat.completions.create(model="m", messages=messages, stream=stream))
    assert "No space left on device" in gateway.close(session).last_error
