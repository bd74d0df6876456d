"""What a container of the contract can and cannot do, seen from inside it on Docker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runner.engine.protocol import Engine, Resources
from runner.testing.deeds import MIB
from runner.testing.lab import LIMITS, Lab, laboratory

pytestmark = pytest.mark.engine


@pytest.fixture
def lab(engine: Engine, engine_image: str, tmp_path: Path) -> Iterator[Lab]:
    """A lab on Docker, for an ordinary user."""
    with laboratory(engine, engine_image, tmp_path, "1000:1000") as made:
        yield made


def _run(lab: Lab, script: str, **changes: object) -> tuple[int | None, str]:
    state, written = lab.perform("nothing", argv=("sh", "-c", script), **changes)
    return state.exit_code, (written["stdout"] + written["stderr"]).decode()


def test_no_privileges(lab: Lab) -> None:
    """Even as root there is no capability, and no way to gain one."""
    code, text = _run(lab, "grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status", user="0:0")
    assert code == 0
    assert text.split() == ["CapEff:", "0" * 16, "CapBnd:", "0" * 16, "NoNewPrivs:", "1"]


def test_kept_capabilities(lab: Lab) -> None:
    """A build container keeps exactly the capabilities it names."""
    _, text = _run(lab, "grep ^CapEff /proc/self/status", user="0:0", capabilities=("CHOWN",))
    assert int(text.split()[1], 16) == 1


def test_init_collects_orphans(lab: Lab) -> None:
    """PID 1 is an init, the command runs below it, and orphans do not stay as zombies."""
    script = """
(sh -c 'echo $$ >/tmp/orphan' &)
tries=300
until test -s /tmp/orphan && ! test -e "/proc/$(cat /tmp/orphan)"; do
    tries=$((tries - 1))
    test $tries -gt 0 || exit 9
    sleep 0.1
done
cat /proc/1/comm
"""
    assert _run(lab, script) == (0, "docker-init\n"), "9: the orphan stays"


def test_tmp_has_a_size_and_runs_programs(lab: Lab) -> None:
    """/tmp can be written and run from, up to its size."""
    script = "printf '#!/bin/sh\necho ran' >/tmp/x && chmod +x /tmp/x && /tmp/x && ! head -c 2000000 /dev/zero >/tmp/y"
    code, text = _run(lab, script)
    assert code == 0
    assert text.startswith("ran\n")
    assert "No space left" in text


def test_shared_memory_has_a_size(lab: Lab) -> None:
    """/dev/shm can be written up to its size."""
    assert "No space left" in _run(lab, "head -c 2000000 /dev/zero >/dev/shm/y")[1]


def test_writable_root_is_for_builds(lab: Lab) -> None:
    """A build container may write its root."""
    assert _run(lab, "touch /etc/written", read_only=False, user="0:0") == (0, "")


def test_no_core_files(lab: Lab) -> None:
    """A crash leaves no core file, and the limit cannot be raised."""
    assert _run(lab, "ulimit -c; ulimit -Hc") == (0, "0\n0\n")


def test_no_file_is_larger_than_allowed(lab: Lab) -> None:
    """The kernel refuses a file beyond the limit, though it were all hole; a limit of 0 is none."""
    small = replace(LIMITS, file=MIB)
    script = "cd /dev/shm; trap '' XFSZ; truncate -s 1000000 x && ! truncate -s 1T x 2>/dev/null"
    assert _run(lab, script, resources=small) == (0, "")
    assert _run(lab, "ulimit -f") == (0, "unlimited\n")


def test_nothing_of_the_host_in_the_environment(lab: Lab) -> None:
    """The environment is what was given, what the image adds, and the engine's host name and home; no more."""
    _, text = _run(lab, "env", env={"PATH": "/usr/bin:/bin", "A": "1"})
    names = {line.partition("=")[0] for line in text.splitlines()}
    assert {"A", "PATH", "HOSTNAME"} <= names
    image = {"PWD", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE"}
    assert names - {"A", "PATH", "HOSTNAME"} <= image
    assert "HOSTNAME=run" in text.splitlines()


def test_cores_are_limited(lab: Lab) -> None:
    """A quarter of a core stays about a quarter, however long it is wanted."""
    script = """
import time
begun, used = time.monotonic(), time.process_time()
while time.monotonic() < begun + 1:
    pass
print((time.process_time() - used) / (time.monotonic() - begun))
"""
    _, written = lab.perform("nothing", argv=("python3", "-c", script), resources=replace(LIMITS, cpus=0.25))
    assert float(written["stdout"]) < 0.6


def test_children_end_with_the_step(lab: Lab) -> None:
    """What a step leaves running ends with it, and its output does not hold up the end."""
    code, text = _run(lab, "setsid sleep 600 & setsid sh -c 'trap \"\" TERM; sleep 600' & echo done")
    assert (code, text) == (0, "done\n")


def test_short_lines_are_not_lost(lab: Lab) -> None:
    """As many empty lines as the shim lets through all come back, though each costs the engine far more than a byte."""
    lines = 100_000
    script = f"head -c {lines} /dev/zero | tr '\\0' '\\n'"
    container = lab.start("nothing", argv=("sh", "-c", script), resources=replace(LIMITS, log=lines))
    lab.finish(container)
    assert sum(len(chunk) for _, chunk in lab.engine.observer.logs(container)) == lines


def test_a_missing_program_is_an_error(lab: Lab) -> None:
    """A main process that does not exist shows in the exit code of the init."""
    state, written = lab.perform("nothing", argv=("/no/such/program",))
    assert state.exit_code == 127
    assert b"/no/such/program" in written["stderr"]


def test_limits_are_all_there(lab: Lab) -> None:
    """Memory, swap and process limits stand in the container's own cgroup."""
    limits = Resources(cpus=1.0, memory=64 * MIB, swap=0, pids=33, tmp=MIB, shm=MIB, log=MIB)
    script = "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/memory.max"
    assert _run(lab, script, resources=limits)[1].split() == ["33", str(64 * MIB)]
