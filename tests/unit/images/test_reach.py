"""A source that cannot be reached is found out quickly, says what to set, and keeps nothing else from being built."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.images import Project

from runner.images import failures, git, lockfile, npm, pipeline, pypi, reach, recipe
from runner.images.lockfile import Artifact
from runner.images.models import BuiltImage
from runner.names import LABEL_INPUTS
from runner.spec.models import GitSource
from runner.testing import Box, FakeEngine

COMMIT = "0" * 40
REFUSED = "http://127.0.0.1:1/tools"
TREE = Artifact(kind="git", name="away", version=COMMIT, file="away.tar", sha256="1" * 64, size=3, commit=COMMIT)
SOURCE = GitSource(git=f"{REFUSED}/away", commit=COMMIT)


@pytest.fixture
def deaf() -> Iterator[str]:
    """Return the address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def _away(project: Project, name: str, address: str) -> None:
    """Add a framework whose source is a repository elsewhere, locked, its tree not in the cache."""
    folder = Path(shutil.copytree(project.ctx.images / "local", project.ctx.images / name))
    text = (folder / "framework.yaml").read_text(encoding="utf-8")
    text = text.replace("name: local", f"name: {name}").replace(
        "{path: program}", f"{{git: '{address}', commit: {COMMIT}}}"
    )
    (folder / "framework.yaml").write_text(text, encoding="utf-8")
    one = recipe.load(project.ctx.images, name)
    base = lockfile.read(recipe.load(project.ctx.images, "base"))
    lock = lockfile.make(now=0, python="3.11", inputs=recipe.lock_inputs(one, base), artifacts=[TREE])
    lockfile.write(lock, one.lock, name)


def _with_git(project: Project, rewrite: dict[str, str] | None = None) -> Project:
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    return Project(ctx=replace(project.ctx, environment=environment, rewrite=rewrite or {}), said=project.said)


def _make_ready(project: Project, fake: FakeEngine) -> None:
    """Let the engine have the images of the base and of the framework `local`, whose smoke test passes."""

    def program(box: Box) -> int:
        return 0

    fake.register(program)
    base = pipeline.inputs(project.ctx.images / "base", "")
    for name, inputs in (("base", base), ("local", pipeline.inputs(project.ctx.images / "local", base))):
        fake.add_image(recipe.load(project.ctx.images, name).tag(inputs), {LABEL_INPUTS: inputs})


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://a.org/x/y", "/mirror/x/y"),
        ("https://a.org/x", "/mirror/x"),
        ("https://a.org/special/y", "https://b.org/y"),
        ("https://c.org/x", "https://c.org/x"),
        ("git@a.org:x/y", "git@a.org:x/y"),
    ],
)
def test_the_longest_beginning_is_rewritten(address: str, expected: str) -> None:
    """Of several rules that fit the longest counts, and an address that none fits stays."""
    rules = {"https://a.org/": "/mirror/", "https://a.org/special": "https://b.org"}
    assert reach.rewritten(address, rules) == expected


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://user:word@a.org:8443/x", "a.org"),
        ("git@a.org:x/y", "a.org"),
        ("/srv/mirror/x", "/srv/mirror/x"),
        ("file:///srv/mirror/x", "file:///srv/mirror/x"),
    ],
)
def test_who_is_asked_is_named(address: str, host: str) -> None:
    """A message names the host of a URL and of scp's notation, without a password; a folder by its path."""
    assert reach.host_of(address) == host


def test_a_mirror_may_be_a_folder(tmp_path: Path) -> None:
    """A rule that leads to a folder gives its path; a relative source starts at the recipe whatever the rules say."""
    assert git.address_of(SOURCE, tmp_path, {"http://127.0.0.1:1": "/mirror"}) == "/mirror/tools/away"
    near = GitSource(git="../near", commit=COMMIT)
    assert git.address_of(near, tmp_path / "x", {"http": "/mirror"}) == str(tmp_path / "near")


@pytest.mark.processes
def test_what_cannot_be_reached_keeps_nothing_else(project: Project, fake: FakeEngine) -> None:
    """The framework after one with an unreachable source has its image; the failure says what was tried and is to set."""
    _away(project, "away", SOURCE.git)
    _make_ready(project, fake)
    began = time.monotonic()
    results = pipeline.ensure(_with_git(project).ctx, ["away", "local"])
    assert time.monotonic() - began < reach.PATIENCE
    failure = results["away"]
    assert isinstance(failure, reach.Unreachable)
    assert failure.what == "127.0.0.1 cannot be reached"
    assert failure.where.endswith("images/away/framework.yaml")
    assert f"git ls-remote --quiet {SOURCE.git} HEAD" in failure.why
    assert "sources.rewrite" in failure.hint
    assert "insteadOf" in failure.hint
    assert isinstance(results["local"], BuiltImage)


@pytest.mark.processes
def test_a_mirror_is_asked_instead(project: Project, tmp_path: Path) -> None:
    """With a rule for its beginning the source answers, and what is wrong next is told instead."""
    mirror = tmp_path / "mirror" / "away"
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    subprocess.run(["git", "init", "--quiet", str(mirror)], check=True, env=environment)
    _away(project, "away", SOURCE.git)
    failure = pipeline.fetch(_with_git(project, {REFUSED: str(tmp_path / "mirror")}).ctx, ["away"])["away"]
    assert not isinstance(failure, reach.Unreachable)
    assert "git rev-parse failed with exit code 1" in str(failure)


@pytest.mark.processes
def test_a_silent_host_is_asked_once(project: Project, deaf: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two frameworks from a host that never answers cost one wait; the second points to the first."""
    asked = _bound(monkeypatch, patience=1.0)
    _away(project, "one", f"{deaf}/one")
    _away(project, "two", f"{deaf}/two")
    results = pipeline.ensure(_with_git(project).ctx, ["one", "two"])
    assert [type(result) for result in results.values()] == [reach.Silent, reach.Silent]
    assert "There was no answer within 1 s." in str(results["one"])
    assert str(results["two"]) == "two is not made, for the reason told of one: 127.0.0.1 cannot be reached"
    assert len(asked) == 1


@pytest.mark.processes
def test_a_refusal_says_nothing_of_the_next_repository(project: Project) -> None:
    """A host that answers with a refusal is asked for each repository; each failure names its own."""
    _away(project, "one", f"{REFUSED}/one")
    _away(project, "two", f"{REFUSED}/two")
    results = pipeline.ensure(_with_git(project).ctx, ["one", "two"])
    assert all(f"{REFUSED}/{name} HEAD" in str(result) for name, result in results.items())


def _bound(monkeypatch: pytest.MonkeyPatch, patience: float) -> list[str]:
    """Let every question be given up sooner, and return the list of what was asked."""
    asked: list[str] = []
    ask = reach.require_answer

    def sooner(command: list[str], *arguments: Any, **options: Any) -> None:
        asked.append(" ".join(command))
        ask(command, *arguments, **{**options, "patience": patience})

    monkeypatch.setattr(reach, "require_answer", sooner)
    return asked


@pytest.mark.processes
def test_nothing_of_a_client_is_left(tmp_path: Path) -> None:
    """When patience is over, what the client had started ends with it, and its open output is not waited for."""
    program = f"sh -c 'echo $$ >{tmp_path}/pid; sleep 600'; true"
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        reach.bounded(["sh", "-c", program], os.environ, 5.0)
    assert time.monotonic() - began < 60
    pid = int((tmp_path / "pid").read_text())
    until = time.monotonic() + 60
    while _alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and waits for its parent does not."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(") ")[2][0] != "Z"


@pytest.mark.processes
def test_a_failure_of_another_kind_is_left_to_others() -> None:
    """What the client says may tell that it has talked to its source: then the fetch itself says what is wrong."""
    command = [sys.executable, "-c", "import sys; sys.exit('E404 no such package')"]
    reach.require_answer(command, os.environ, host="x", where="w", hint="h", alien=lambda said: "E404" in said)
    with pytest.raises(reach.Unreachable, match="x cannot be reached"):
        reach.require_answer(command, os.environ, host="x", where="w", hint="h", alien=lambda said: "DNS" in said)


@pytest.mark.parametrize(
    ("proxies", "reached"),
    [
        ({}, False),
        ({"http_proxy": "{there}"}, True),
        ({"HTTP_PROXY": "{bare}"}, True),
        ({"https_proxy": "{there}"}, False),
        ({"http_proxy": "{there}", "no_proxy": "example.org,127.0.0.1"}, False),
        ({"http_proxy": "socks5://127.0.0.1:1"}, True),
    ],
    ids=["direct", "proxy", "without-scheme", "of-another-scheme", "excepted", "cannot-be-told"],
)
def test_the_way_to_an_index_is_tried(deaf: str, proxies: dict[str, str], *, reached: bool) -> None:
    """The proxy is connected to where there is one for the address, else the host itself."""
    named = {key: value.format(there=deaf, bare=deaf.partition("//")[2]) for key, value in proxies.items()}
    outcome: Callable[[], None] = lambda: reach.require_connection(  # noqa: E731  one call under two expectations
        "http://127.0.0.1:1/simple", named, where="w", hint="h"
    )
    if reached:
        outcome()
        return
    with pytest.raises(reach.Unreachable, match=r"127\.0\.0\.1 cannot be reached") as caught:
        outcome()
    assert "port 1" in caught.value.why


def test_a_folder_for_an_index_is_not_connected_to() -> None:
    """An index that is no web address has no host to ask."""
    reach.require_connection("file:///srv/simple", {}, where="w", hint="h")


def test_a_name_that_nobody_looks_up_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking up a name may hang for longer than any connection; patience covers it too."""
    over = threading.Event()

    def hang(*_: object) -> None:
        over.wait(200)
        raise OSError("nobody knows")

    monkeypatch.setattr(socket, "create_connection", hang)
    began = time.monotonic()
    with pytest.raises(reach.Silent):
        reach.require_connection("http://nowhere.example/", {}, where="w", hint="h", patience=0.2)
    assert time.monotonic() - began < 60
    over.set()


def test_only_the_named_kinds_are_remembered() -> None:
    """A repository that refuses says nothing of the next on the same host; a silent host is not asked again."""
    failed: dict[str, failures.Failure] = {}
    for error, remembered in ((reach.Unreachable("x"), False), (reach.Silent("y"), True)):
        with pytest.raises(reach.Unreachable), failures.once(failed, "host a.org", (reach.Silent,)):
            raise error
        assert ("host a.org" in failed) is remembered


PROGRAM = "#!/bin/sh\necho asked >> {folder}/asked\necho 'npm error code {code}' >&2\nexit 1\n"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("code", "lost"), [("ENOTFOUND", True), ("ECONNREFUSED", True), ("E404", False), ("E401", False)]
)
def test_npm_says_whether_it_was_connected(project: Project, tmp_path: Path, code: str, *, lost: bool) -> None:
    """Only what has to do with the connection makes a source unreachable; a package that is not there is another matter."""
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(folder=tmp_path, code=code))
    program.chmod(0o755)
    ctx = replace(project.ctx, environment={"PATH": f"{program.parent}:{os.environ['PATH']}"})
    if lost:
        with pytest.raises(reach.Unreachable, match="npm's registry cannot be reached"):
            npm.require_reachable(ctx, "x@1", "w")
    else:
        npm.require_reachable(ctx, "x@1", "w")
    assert (tmp_path / "asked").read_text() == "asked\n"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({"PIP_INDEX_URL": f"{REFUSED}/simple"}, True),
        ({"PIP_INDEX_URL": f"{REFUSED}/simple", "PIP_FIND_LINKS": "/srv/wheels"}, False),
        ({"PIP_INDEX_URL": f"{REFUSED}/simple", "PIP_NO_INDEX": "1"}, False),
        ({"PIP_INDEX_URL": f"{REFUSED}/simple", "PIP_EXTRA_INDEX_URL": "file:///srv/simple"}, False),
        ({"PIP_INDEX_URL": "file:///srv/simple"}, False),
    ],
    ids=["refused", "folder-of-wheels", "no-index", "folder-beside", "folder"],
)
def test_pips_index_is_asked_where_all_comes_from_it(
    project: Project, settings: dict[str, str], *, asked: bool
) -> None:
    """An index that refuses makes an image not buildable; where folders hold packages pip itself has to find out."""
    environment = {"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": "/dev/null", **settings}
    ctx = replace(project.ctx, environment=environment)
    if asked:
        with pytest.raises(reach.Unreachable, match=r"127\.0\.0\.1 cannot be reached"):
            pypi.require_reachable(ctx, "w")
    else:
        pypi.require_reachable(ctx, "w")


@pytest.mark.processes
def test_one_of_several_indexes_will_do(project: Project, deaf: str) -> None:
    """Each of them is looked into by pip, so one that answers is enough to try."""
    settings = {"PIP_INDEX_URL": f"{REFUSED}/simple", "PIP_EXTRA_INDEX_URL": f"{deaf}/simple"}
    environment = {"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": "/dev/null", **settings}
    pypi.require_reachable(replace(project.ctx, environment=environment), "w")
