"""Two users with ids of their own on one engine: each sees, stops and sweeps only what is his."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.project import ROOT, SITE, Project, copy_project, left_in_engine
from support.waiting import until

SOCKET = Path("/var/run/docker.sock")
UIDS = (54_101, 54_102)
"""Nobody's on any machine."""


def _python() -> str:
    """Return an interpreter like this one that every user may run; empty if there is none."""
    for candidate in (Path(sys.executable).resolve(), Path(f"/usr/bin/python3.{sys.version_info.minor}")):
        open_to_all = all(place.stat().st_mode & 0o005 == 0o005 for place in candidate.parents if place.exists())
        if candidate.exists() and open_to_all:
            return str(candidate)
    return ""


def _cannot() -> str:
    if os.geteuid():
        return "only root can be two other users"
    if not SOCKET.is_socket() or "DOCKER_HOST" in os.environ:
        return "the engine is not the machine's"
    return "" if _python() else "no interpreter that other users may run"


pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(_cannot()), reason=_cannot() or "can run"),
]


@dataclass(frozen=True)
class User:
    """Somebody who may talk to the engine, with a project of his own."""

    uid: int
    project: Project

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command line as this user, who is in the socket's group."""
        packages = sysconfig.get_path("purelib")
        environment = {
            "HOME": str(self.project.root.parent),
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "PYTHONPATH": f"{ROOT}:{packages}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "RUNNER_SITE": str(SITE),
        }
        return subprocess.Popen(
            [_python(), "-m", "runner", *arguments],
            cwd=self.project.root,
            env=environment,
            user=self.uid,
            group=self.uid,
            extra_groups=[SOCKET.stat().st_gid],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            umask=0o077,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run it to its end; return its exit code and what it said."""
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=240)
        return process.returncode, said

    @property
    def outcomes(self) -> list[str]:
        return [json.loads((path / "metadata.json").read_text())["outcome"] for path in self.project.directories()]


@pytest.fixture
def users() -> Iterator[tuple[User, User]]:
    """Return two users, each with a project in a home of his own, and the image built."""
    home = Path(tempfile.mkdtemp(prefix="two-users-"))
    home.chmod(0o755)
    try:
        made = []
        for uid in UIDS:
            project = copy_project("probe", home / str(uid) / "probe")
            for path in (home / str(uid), *(home / str(uid)).rglob("*")):
                os.chown(path, uid, uid, follow_symlinks=False)
            made.append(User(uid, project))
        yield made[0], made[1]
    finally:
        shutil.rmtree(home)


def _left(user: User) -> list[str]:
    return sorted(left_in_engine(user.project))


def _settled(user: User) -> list[str]:
    """Return what is left when the engine has done what a runner asked for last, who did not live to see it."""
    looks = [_left(user)]

    def look() -> list[str]:
        time.sleep(2)
        looks.append(_left(user))
        return looks[-1] if looks[-1] == looks[-2] else []

    return until(look, "what is left changes and changes")


def test_each_has_only_what_is_his(users: tuple[User, User]) -> None:
    """Side by side both pass; what a killed runner of one left the other neither takes up, nor sweeps, nor may read."""
    ada, bob = users
    for user in users:
        code, said = user.run("images", "build", "probe")
        assert code == 0, said
    hers = ada.start("go", "slow", "--repetitions", "2", "--jobs", "2")
    until(lambda: any("-s01-" in name for name in _left(ada)), "no container appeared")
    hers.send_signal(signal.SIGKILL)
    hers.communicate()
    left = _settled(ada)
    code, said = bob.run("go", "slow", "--repetitions", "2", "--jobs", "2")
    assert code == 0, said
    assert bob.outcomes == ["passed", "passed"]
    assert "collected and removed" not in said
    code, said = bob.run("clean", "--yes")
    assert code == 0, said
    assert "left by runners that have ended: none" in said
    assert all(f"{name}  foreign" in said for name in left if "-s01-" in name)
    assert _left(ada) == left, "what is hers is as she left it"
    assert bob.run("clean", "--output", str(ada.project.runs))[0] != 0, "her folder is closed to him"
    code, said = ada.run("go", "slow", "--repetitions", "2", "--jobs", "2")
    assert code == 0, said
    assert ada.outcomes == ["passed", "passed"]
    assert not (ada.project.runs / ".superseded").exists()
    for user in users:
        assert _left(user) == []
        owners = {path.lstat().st_uid for path in user.project.runs.rglob("*")}
        assert owners == {user.uid}
