"""A run is done again from its own evidence, and its archive is all that it takes; nothing in it names the machine."""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from support.project import Project, copy_project

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with one finished run."""
    project = copy_project("talk", tmp_path_factory.mktemp("done") / "talk")
    result = project.run("go")
    assert result.returncode == 0, result.stdout + result.stderr
    return project


def _run(project: Project) -> Path:
    (found,) = project.directories()
    return found


def _json(text: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(text)
    return content


def test_a_run_is_reproduced(done: Project) -> None:
    """The same inputs give the same outcome and workspace after every step, out of the way of the run itself."""
    before = sorted(done.runs.iterdir())
    result = done.run("reproduce", _run(done).name, "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    told = _json(result.stdout)
    assert (told["identical"], told["parting"]) == (True, None)
    assert [step["workspace"] for step in told["steps"]] == ["identical", "identical"]
    assert Path(told["directory"]).is_relative_to(done.runs / ".reproduced")
    assert [one for one in sorted(done.runs.iterdir()) if one.name != ".reproduced"] == before
    said = done.run("reproduce", _run(done).name)
    assert "identical: 2 steps, the same outcome of each" in said.stdout


def test_its_archive_is_all_it_takes(done: Project, tmp_path: Path) -> None:
    """From a copy of the archive, in another checkout, steps are shown, opened and reproduced, and all is verified."""
    archive = tmp_path / "shared.tar.zst"
    shutil.copyfile(_run(done) / "run.tar.zst", archive)
    other = copy_project("talk", tmp_path / "other")
    for command in (("steps", str(archive)), ("verify", str(archive)), ("open", f"{archive}@1", str(tmp_path / "one"))):
        result = other.run(*command)
        assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / "one" / "answers.txt").is_file()
    result = other.run("reproduce", str(archive), "--into", str(tmp_path / "again"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "identical" in result.stdout


def test_where_runs_part(done: Project, tmp_path: Path) -> None:
    """A run that comes to something else is told with the first step and the paths, and ends with 1."""
    changed = tmp_path / "changed"
    shutil.copytree(_run(done), changed)
    other = copy_project("talk", tmp_path / "other")
    record = _json((changed / "metadata.json").read_text())
    record["steps"][1]["outcome"] = "failed"
    (changed / "metadata.json").write_text(json.dumps(record))
    result = other.run("reproduce", str(changed))
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"they part in step 2, {record['steps'][1]['id']}" in result.stdout
    assert "failed when recorded, now passed" in result.stdout


def _texts(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every member of an archive, what is compressed in it as it was."""
    with zstandard.open(archive, "rb") as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 0)
            content = tar.extractfile(member) if member.isreg() else None
            data = content.read() if content else b""
            if data.startswith(b"\x28\xb5\x2f\xfd"):
                data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
            yield member.name, data


def test_nothing_names_the_machine(done: Project) -> None:
    """No member of an archive has the name of the host or the user, the place of the project, or a process."""
    words = [socket.gethostname(), str(done.root), str(Path.home()), f"uid={os.getuid()}"]
    words += [getpass.getuser()] if getpass.getuser() != "root" else ["/root"]
    named = re.compile(rb"(?<![\w-])(" + b"|".join(re.escape(word.encode()) for word in words) + rb")(?![\w-])")
    found = {name: named.search(data) for name, data in _texts(_run(done) / "run.tar.zst")}
    assert len(found) > 20
    assert {name: match[0] for name, match in found.items() if match} == {}
