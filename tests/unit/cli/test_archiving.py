"""Archives as a user writes, names and mistakes them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from support.command_line import run
from support.fake_world import World

from runner.cli.main import main
from runner.evidence.kept import kept
from runner.evidence.layout import RunLayout
from runner.execution.run import perform_run


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """Return a finished run with its archive, in the folder `runs`."""
    world = World(output=tmp_path / "runs", sockets=tmp_path / "sockets")
    perform_run(world.context, world.run)
    return world.layout


@pytest.fixture
def archive(layout: RunLayout) -> Path:
    """Return the run's archive."""
    return layout.archive("zstd")


def test_a_damaged_run_does_not_replace_its_archive(layout: RunLayout, archive: Path, tmp_path: Path) -> None:
    """What only the archive has is not lost by writing it again, in whatever format; elsewhere the rest is written."""
    before = {path: path.read_bytes() for path in layout.root.glob("run.tar*")}
    layout.step(1).metadata.unlink()
    for kind in ("zstd", "gzip"):
        code, out, err = run(tmp_path / "runs", "archive", "build", "--kind", kind)
        assert (code, out) == (6, "")
        assert "is damaged: steps/step_001/metadata.json is missing" in err
        assert "its archive is sound" in err
        assert "--to FILE" in err
    assert {path: path.read_bytes() for path in layout.root.glob("run.tar*")} == before
    assert run(tmp_path / "runs", "archive", "build", "--to", str(tmp_path / "rest.tar.zst"))[0] == 0
    assert run(tmp_path / "runs", "verify", str(archive))[0] == 0


def test_what_the_run_has_not_any_more_stays_in_its_archive(layout: RunLayout, archive: Path, tmp_path: Path) -> None:
    """A file that no digest misses is missed by the archive that has it."""
    before = archive.read_bytes()
    (layout.workspace / "app.txt").unlink()
    code, _, err = run(tmp_path / "runs", "archive", "build")
    assert (code, "has not all that its archive has: generated_artifacts/app.txt is missing" in err) == (6, True)
    assert archive.read_bytes() == before


def test_a_damaged_archive_of_a_sound_run_is_written_again(layout: RunLayout, archive: Path, tmp_path: Path) -> None:
    """Writing an archive again mends it, and a damaged run whose archive is damaged too is not said to have a sound one."""
    before = archive.read_bytes()
    archive.write_bytes(before[:-100])
    assert run(tmp_path / "runs", "archive", "build")[0] == 0
    assert archive.read_bytes() == before
    archive.write_bytes(before[:-100])
    layout.step(1).metadata.unlink()
    code, _, err = run(tmp_path / "runs", "archive", "build")
    assert (code, "its archive is damaged too" in err, "runner show" in err) == (6, True, False)


def test_nothing_is_written_over(layout: RunLayout, tmp_path: Path) -> None:
    """A file that is there stays as it is, and a folder that is not there is not made, whoever is to write into it."""
    there = tmp_path / "there"
    there.write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    commands = (
        ("archive", "build", "--to"),
        ("export", "build", "--oci"),
        ("export", "build", "--bundle"),
        ("open", "build@1"),
        ("shell", "build@1", "--keep"),
    )
    for argv in commands:
        code, _, err = run(tmp_path / "runs", *argv, str(there))
        assert (code, f"there is something at {there}" in err) == (2, True), argv
        code, _, err = run(tmp_path / "runs", *argv, str(tmp_path / "no" / "where"))
        assert (code, f"there is no folder {tmp_path / 'no'}" in err) == (2, True), argv
    assert there.read_text() == "mine"
    assert not (tmp_path / "no").exists()
    code, _, err = run(tmp_path / "runs", "shell", "build@1", "--keep", str(tmp_path / "full"))
    assert (code, "--keep DIR" in err, "--output" in err) == (2, True, False)
    assert layout.root.is_dir()


def test_an_archive_is_not_archived_in_itself(archive: Path, tmp_path: Path) -> None:
    """What an archive is unpacked into is gone when the program ends: another place has to be named."""
    code, out, err = run(tmp_path / "runs", "archive", str(archive))
    assert (code, out, "--to FILE" in err) == (2, "", True)
    target = tmp_path / "other.tar.gz"
    assert run(tmp_path / "runs", "archive", str(archive), "--to", str(target))[0] == 0
    assert run(tmp_path / "runs", "verify", str(target))[0] == 0


def test_a_mark_is_of_a_run_that_is_there(archive: Path, tmp_path: Path) -> None:
    """An archive stands for its run only where the run is not written to; elsewhere that must be in the folder."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for command in ("keep", "approve", "cancel"):
        code, _, err = run(elsewhere, command, str(archive))
        assert (code, f"is not in {elsewhere}" in err) == (2, True), command
    assert not any(elsewhere.iterdir())
    assert run(tmp_path / "runs", "keep", str(archive))[0] == 0
    assert [*kept(tmp_path / "runs")] == [f"alpha/{archive.parent.name}"]


@pytest.mark.parametrize("size", [0, 3, 10, 300, 5000, -1])
@pytest.mark.parametrize("kind", ["zstd", "gzip"])
def test_an_archive_that_was_cut_short(layout: RunLayout, tmp_path: Path, kind: str, size: int) -> None:
    """However much of an archive is left, it is said that it ends too early, and where."""
    whole, cut = tmp_path / layout.archive(kind).name, tmp_path / f"cut{layout.archive(kind).suffix}"
    cut = cut.with_name(f"cut.tar{layout.archive(kind).suffix}")
    assert run(tmp_path / "runs", "archive", "build", "--kind", kind, "--to", str(whole))[0] == 0
    data = whole.read_bytes()[: size if size >= 0 else -60]
    cut.write_bytes(data)
    code, out, _ = run(tmp_path / "runs", "verify", str(cut), "--json")
    assert (code, json.loads(out)["problems"]) == (
        6,
        {cut.name: [f"it ends too early, after {len(data)} bytes: copy it again"]},
    )
    assert f"it ends too early, after {len(data)} bytes" in run(tmp_path / "runs", "show", str(cut))[2]


def test_what_is_no_archive(tmp_path: Path) -> None:
    """A file of another sort is no damaged archive, and one that is not there no run; neither takes a project."""
    (tmp_path / "text").write_text("hello")
    for name, words in (("text", "is no archive"), ("absent.tar.zst", "there is no file")):
        err = io.StringIO()
        code = main(["-C", str(tmp_path), "verify", str(tmp_path / name)], environment={}, out=err, err=err)
        assert (code, words in err.getvalue()) == (2, True), name
    code, _, err_text = run(tmp_path, "show", "absent.tar.gz")
    assert (code, "there is no file absent.tar.gz" in err_text) == (2, True)
    foreign = tmp_path / "foreign.tar.zst"
    foreign.write_text("hello" * 100)
    code, out, _ = run(tmp_path, "verify", str(foreign))
    assert (code, "ends too early" in out) == (6, False)
