"""Runs on their way to another folder, as a user sends them."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest
from support.fake_world import World

from runner.cli.main import main
from runner.evidence.atomic import write_json
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.execution.run import perform_run
from runner.ledger.store import open_ledger


def run(place: Path, *argv: str) -> tuple[int, str, str]:
    """Run a command line in a folder and return exit code, stdout and stderr."""
    raw, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(raw, encoding="utf-8")
    code = main(["-C", str(place), *argv], environment={}, out=out, err=err)
    out.flush()
    return code, raw.getvalue().decode(), err.getvalue()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with one finished run, made from one of its scenarios."""
    root = tmp_path / "here"
    files = {
        "config/experiments/small.yaml": "name: small\nframeworks: [alpha]\nscenarios: [build]\n",
        "config/scenarios/build.yaml": "name: build\nstart: {bundle: prompts/seed.bundle}\nsteps:\n  - {id: begin, prompt_file: prompts/begin.md}\n"
        "  - {id: extend, workflow: more}\n",
        "config/scenarios/prompts/begin.md": "Begin.\n",
        "config/scenarios/prompts/seed.bundle": "commits",
        "config/scenarios/prompts/other.md": "Of another scenario.\n",
        "config/workflows/more.yaml": "name: more\nsteps:\n  - {id: one, script_file: one.sh}\n",
        "config/workflows/one.sh": "echo one\n",
        "images/alpha/framework.yaml": "name: alpha\n",
        "images/base/base.yaml": "{}\n",
        "images/beta/framework.yaml": "name: beta\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    world = World(output=root / "runs", sockets=tmp_path / "sockets")
    perform_run(world.context, world.run)
    return root


@pytest.fixture
def bundle(project: Path, tmp_path: Path) -> Path:
    """Return a bundle of the project's run, without images."""
    target = tmp_path / "small.bundle"
    code, out, _ = run(project, "export", "build", "--bundle", str(target), "--without-images")
    assert code == 0
    assert out.startswith("alpha/build-r1-")
    return target


def the_run(root: Path) -> RunLayout:
    """Return the one run of a project."""
    (found,) = (root / "runs").glob("alpha/*")
    return RunLayout(found)


def test_a_bundle_opens_elsewhere(project: Path, bundle: Path, tmp_path: Path) -> None:
    """In an empty folder a bundle makes a project whose runs are listed, shown, compared and verified as at home."""
    there = tmp_path / "there"
    (there / "runs" / ".import-of-one-that-was-cut-off").mkdir(parents=True)
    code, out, _ = run(there, "import", str(bundle), "--without-images")
    assert (code, out.splitlines()[0]) == (0, f"alpha/{the_run(project).root.name}")
    assert "1 run taken in, 0 there already" in out
    assert the_run(there).metadata.read_bytes() == the_run(project).metadata.read_bytes()
    assert "1 run: 1 passed" in run(there, "runs")[1]
    for command in (("show", "build"), ("diff", "build@1", "build@2"), ("verify", "build"), ("ledger", "check")):
        assert run(there, *command)[0] == 0, command
    assert run(there, "diff", "build@1", "build@2") == run(project, "diff", "build@1", "build@2")
    assert not list((there / "runs").glob(".import-*"))


def test_what_a_run_was_made_from_goes_with_it(bundle: Path, tmp_path: Path) -> None:
    """The experiment, its scenarios with their prompts and workflows, and the recipes it needs; nothing else."""
    (tmp_path / "there").mkdir()
    run(tmp_path / "there", "import", str(bundle), "--without-images")
    files = [path for path in (tmp_path / "there").rglob("*") if path.is_file()]
    assert sorted(path.name for path in files if "runs" not in path.parts) == [
        "base.yaml",
        "begin.md",
        "build.yaml",
        "framework.yaml",
        "more.yaml",
        "one.sh",
        "seed.bundle",
        "small.yaml",
    ]


def test_a_second_import_changes_nothing(project: Path, bundle: Path) -> None:
    """Runs that are there and the same are skipped, and so are a project's own files."""
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file() and "ledger" not in path.name}
    (project / "config" / "scenarios" / "build.yaml").write_text("name: build\n")
    code, out, err = run(project, "import", str(bundle), "--without-images")
    assert code == 0
    assert "0 runs taken in, 1 there already" in out
    assert "config/scenarios/build.yaml is another one here, and stays" in " ".join(err.split())
    (project / "config" / "scenarios" / "build.yaml").write_bytes(
        before[project / "config" / "scenarios" / "build.yaml"]
    )
    assert all(path.read_bytes() == data for path, data in before.items() if path.name != ".lock")


def test_another_run_is_never_overwritten(project: Path, bundle: Path, tmp_path: Path) -> None:
    """A run in whose place another one stands is refused by its name, and then nothing at all is taken in."""
    layout = the_run(project)
    record = RunRecord.model_validate_json(layout.metadata.read_bytes())
    write_json(layout.metadata, record.model_copy(update={"reason": "done again"}))
    shutil.rmtree(project / "images")
    (project / "images").mkdir()
    code, _, err = run(project, "import", str(bundle), "--without-images")
    assert code != 0
    assert f"alpha/{layout.root.name}: another run is there already" in err
    assert json.loads(layout.metadata.read_text())["reason"] == "done again"
    assert not list((project / "images").iterdir())


def test_a_damaged_bundle_leaves_nothing_behind(bundle: Path, tmp_path: Path) -> None:
    """One changed byte is found before anything is written."""
    data = bytearray(bundle.read_bytes())
    data[-20000] ^= 1
    bundle.write_bytes(data)
    there = tmp_path / "there"
    there.mkdir()
    code, _, err = run(there, "import", str(bundle), "--without-images")
    assert code != 0
    assert "damaged" in err
    assert not list(there.iterdir())


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("export", "build"), "export to where?"),
        (("export", "--bundle", "x"), "a bundle of which runs?"),
        (("export", "build", "--oci", "x", "--without-images"), "are about a bundle"),
        (("export", "build", "--oci", "x", "--bundle", "y"), "goes with neither"),
        (("export", "--experiment", "none", "--bundle", "x"), "no finished run"),
        (("export", "--oci", "x"), "images are made of one run, not of 0"),
    ],
)
def test_what_makes_no_sense_together(project: Path, argv: tuple[str, ...], words: str) -> None:
    """An export that says too little or too much is refused with what is wrong with it."""
    code, _, err = run(project, *argv)
    assert code == 2
    assert words in err


def test_runs_of_an_experiment(project: Path, tmp_path: Path) -> None:
    """All finished runs of an experiment go together; one that has not ended is named and left out."""
    unfinished = RunLayout(project / "runs" / "alpha" / "build-r9-0")
    record = RunRecord.model_validate_json(the_run(project).metadata.read_bytes())
    unfinished.root.mkdir()
    write_json(unfinished.metadata, record.model_copy(update={"outcome": None}))
    target = tmp_path / "all.bundle"
    code, out, err = run(project, "export", "--experiment", "small", "--bundle", str(target), "--without-images")
    assert (code, out.count("alpha/build-r1-")) == (0, 1)
    assert "alpha/build-r9-0 has not ended" in err


def test_an_import_that_was_cut_off(project: Path, bundle: Path, tmp_path: Path) -> None:
    """Whatever a killed import left is cleared or finished by the next: no half file, and the run is in the ledger."""
    there = tmp_path / "there"
    assert run(there_made(there), "import", str(bundle))[0] == 0
    the_ledger = there / "runs" / ".ledger.sqlite"
    the_ledger.unlink()
    half = there / "config" / "scenarios" / f".tmp-{'0' * 16}"
    half.write_text("half")
    staged = there / "runs" / ".import-0" / "alpha"
    staged.mkdir(parents=True)
    assert run(there, "import", str(bundle))[0] == 0
    assert not half.exists()
    assert not staged.parent.exists()
    with open_ledger(the_ledger) as ledger:
        (row,) = ledger.rows()
    assert (row.run_id, row.outcome) == (the_run(project).root.name, "passed")


def test_a_digest_of_another_tar(bundle: Path, tmp_path: Path) -> None:
    """What a bundle says of a run's tar is compared with the tar, before the run appears."""
    with tarfile.open(bundle) as tar:
        members = [(one, (tar.extractfile(one) or io.BytesIO()).read()) for one in tar]
    about = json.loads(members[0][1])
    about["runs"][0]["tar_sha256"] = "0" * 64
    members[0] = (members[0][0], json.dumps(about).encode())
    with tarfile.open(tmp_path / "edited.bundle", "w") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    there = there_made(tmp_path / "there")
    code, _, err = run(there, "import", str(tmp_path / "edited.bundle"))
    assert code != 0
    assert "the tar in it has sha256" in err
    assert not list((there / "runs").glob("alpha/*"))


def there_made(folder: Path) -> Path:
    """Return a folder that has just been made."""
    folder.mkdir()
    return folder
