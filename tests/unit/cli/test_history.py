"""Commands that look at the steps of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import run

from runner.evidence.archive import write_archive
from runner.evidence.atomic import write_json
from runner.evidence.history.oci import read_steps
from runner.evidence.history.snapshot import open_history, take_snapshot
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord, ValueRecord
from runner.evidence.tree import scan

RUN = "crud-r1-0123456789"


@pytest.fixture
def kept(output: Path) -> Path:
    """Return the folder of runs; the first run's two steps are in its history."""
    layout = RunLayout(output / "ghspec" / RUN)
    layout.workspace.mkdir()
    history = open_history(layout.history)
    (layout.workspace / "a.txt").write_text("one\n")
    (layout.workspace / "gone").write_text("x")
    take_snapshot(history, layout.workspace, scan(layout.workspace), 1, "student")
    (layout.workspace / "a.txt").write_text("two\n")
    (layout.workspace / "gone").unlink()
    (layout.workspace / "\x1b[31m").write_text("red")
    take_snapshot(history, layout.workspace, scan(layout.workspace), 2, "course")
    return output


def test_steps(kept: Path) -> None:
    """Every planned step has a row; what is not known of one is a dash, or null in JSON."""
    code, out, _ = run(kept, "steps", "crud-r1")
    rows = [line.split() for line in out.splitlines()]
    assert code == 0
    assert [row[:3] for row in rows[2:4]] == [["1", "student", "passed"], ["2", "course", "failed"]]
    assert [row[-5:-2] for row in rows[2:4]] == [["2", "0", "0"], ["1", "1", "1"]]
    assert rows[4][-1] == "\N{EN DASH}"
    first, _, third = json.loads(run(kept, "steps", "crud-r1", "--json")[1])["steps"]
    assert (first["added"], third["added"], third["layer_bytes"]) == (2, None, None)
    assert first["image"] == f"sha256:{read_steps(kept / 'ghspec' / RUN / 'history')[0].config}"


def test_diff(kept: Path) -> None:
    """A step is compared with the one before it unless another is named; names from a workspace are escaped."""
    code, out, _ = run(kept, "diff", "crud-r1@2")
    assert code == 0
    assert "\x1b" not in out
    assert "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n" in out
    assert run(kept, "diff", "crud-r1@student", "crud-r1@course") == (0, out, "")
    assert run(kept, "diff", "crud-r1@0", "crud-r1@1", "--name-only")[1] == "A a.txt\nA gone\n"
    assert "1 added, 1 removed, 1 changed; 2 lines more, 2 lines less" in run(kept, "diff", "crud-r1@2", "--stat")[1]
    assert run(kept, "diff", "crud-r1@2", "crud-r1@2")[1] == "no difference\n"
    found = {one["path"]: one for one in json.loads(run(kept, "diff", "crud-r1@2", "--json")[1])["changes"]}
    assert (found["gone"]["change"], found["gone"]["new"], found["a.txt"]["lines_added"]) == ("removed", None, 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("crud-r1", "names no step"),
        ("crud-r1@", "names no step"),
        ("crud-r1@studnt", "did you mean student?"),
        ("crud-r2@1", "has no history"),
        ("crud-r1@3", "the history of crud-r1-0123456789 has no step teacher"),
        ("crud-r1@teacher", "it has not ended; the history has: student, course"),
    ],
)
def test_step_that_is_not_there(kept: Path, text: str, words: str) -> None:
    """A step that is not kept is refused with what there is, or why there is nothing."""
    code, _, err = run(kept, "open", text)
    assert code != 0
    assert words in err


@pytest.mark.parametrize(
    ("planned", "ended", "words"),
    [
        ({"kind": "model"}, {"outcome": "passed"}, "it works on no workspace"),
        ({}, {"outcome": "skipped", "reason": "step course did not pass"}, "it was skipped: step course did not pass"),
        ({}, {"outcome": "passed"}, "it could not be kept"),
    ],
)
def test_step_of_the_run_that_the_history_has_not(
    kept: Path, planned: dict[str, str], ended: dict[str, str], words: str
) -> None:
    """A step of the run that is not in its history is refused with the reason, not as an unknown name."""
    layout = RunLayout(kept / "ghspec" / RUN)
    record = RunRecord.model_validate_json(layout.metadata.read_bytes())
    steps = (*record.run.steps[:2], record.run.steps[2].model_copy(update=planned))
    last = record.steps[1].model_copy(update={"id": "teacher", "index": 3, **ended})
    update = {"run": record.run.model_copy(update={"steps": steps}), "steps": (*record.steps, last)}
    write_json(layout.metadata, record.model_copy(update=update))
    code, _, err = run(kept, "open", "crud-r1@teacher")
    assert code == 2
    assert words in err


def test_diff_knows_the_size_of_an_empty_file(output: Path) -> None:
    """In JSON an empty file has 0 bytes; null is for what has no size."""
    layout = RunLayout(output / "ghspec" / RUN)
    (layout.workspace / "folder").mkdir(parents=True)
    (layout.workspace / "folder" / "empty").touch()
    take_snapshot(open_history(layout.history), layout.workspace, scan(layout.workspace), 1, "student")
    found = {one["path"]: one["new"] for one in json.loads(run(output, "diff", "crud-r1@1", "--json")[1])["changes"]}
    assert {path: one["size"] for path, one in found.items()} == {"folder/empty": 0}


def test_open(kept: Path, tmp_path: Path) -> None:
    """A step's workspace is written to the folder that is named, which the command prints."""
    target = tmp_path / "back"
    assert run(kept, "open", "crud-r1@1", str(target)) == (0, f"{target}\n", "")
    assert sorted(path.name for path in target.iterdir()) == ["a.txt", "gone"]
    code, _, err = run(kept, "open", "crud-r1@1", str(target))
    assert (code, "there is something at" in err) == (2, True)


def test_export(kept: Path, tmp_path: Path) -> None:
    """The file is written and every image in it named; a name that no engine takes, or none at all, is refused."""
    file = tmp_path / "out.tar"
    code, out, _ = run(kept, "export", "crud-r1", "--oci", str(file), "--image", "me/crud")
    assert (code, out.split()) == (0, ["me/crud:step-001-student", "me/crud:step-002-course"])
    assert file.stat().st_size > 0
    assert run(kept, "export", "crud-r1", "--oci", str(file), "--image", "Me/crud:1")[0] == 2
    assert run(kept, "export", "crud-r1")[0] == 2


@pytest.fixture
def whole(kept: Path) -> RunLayout:
    """Return the first run with everything that a run leaves, its archive included."""
    layout = RunLayout(kept / "ghspec" / RUN)
    for step in RunRecord.model_validate_json(layout.metadata.read_bytes()).steps:
        write_json(layout.step(step.index).metadata, step)
    write_archive(layout, "zstd")
    return layout


def test_verify(kept: Path, whole: RunLayout) -> None:
    """A run's history and archive are checked, an archive alone too; damage ends with an exit code of its own."""
    code, out, _ = run(kept, "verify", "crud-r1")
    assert (code, out.splitlines()) == (
        0,
        [f"{part}: as it was written" for part in ("records", "values", "history", "run.tar.zst")],
    )
    alone = run(kept, "verify", str(whole.archive("zstd")))[1]
    assert alone.splitlines() == [
        f"{part}: as it was written" for part in ("run.tar.zst", "records", "values", "history")
    ]
    blob = next((whole.history / "blobs" / "sha256").iterdir())
    blob.write_bytes(b"damaged")
    code, out, _ = run(kept, "verify", "crud-r1", "--json")
    problems = json.loads(out)["problems"]
    assert (code, [*problems]) == (6, ["history"])
    assert any(blob.name in problem for problem in problems["history"])
    assert run(kept, "verify", str(whole.archive("zstd")))[0] == 0


def test_verify_looks_into_an_archive(kept: Path, whole: RunLayout, tmp_path: Path) -> None:
    """An archive that is whole but was made of damaged evidence is told apart from a damaged archive."""
    blob = next((whole.history / "blobs" / "sha256").iterdir())
    blob.write_bytes(b"damaged")
    archive = tmp_path / "later.tar.zst"
    write_archive(whole, "zstd", target=archive)
    code, out, _ = run(kept, "verify", str(archive), "--json")
    assert (code, [*json.loads(out)["problems"]]) == (6, ["history"])


def test_verify_compares_records(kept: Path, whole: RunLayout) -> None:
    """A step's record that is gone, or is not the one in the run's, is named."""
    path = whole.step(1).metadata
    path.write_text(path.read_text().replace('"passed"', '"failed"', 1))
    whole.step(2).metadata.unlink()
    code, out, _ = run(kept, "verify", "crud-r1", "--json")
    assert (code, json.loads(out)["problems"]["records"]) == (
        6,
        [
            "steps/step_001/metadata.json is not what metadata.json says of the step",
            "steps/step_002/metadata.json is missing",
        ],
    )


def test_archive(kept: Path, whole: RunLayout, tmp_path: Path) -> None:
    """An archive is written again with the same bytes, in the format that is asked for, or elsewhere."""
    before = whole.archive("zstd").read_bytes()
    code, out, _ = run(kept, "archive", "crud-r1", "--json")
    told = json.loads(out)
    assert (code, told["path"], told["bytes"]) == (0, str(whole.archive("zstd")), len(before))
    assert whole.archive("zstd").read_bytes() == before
    target = tmp_path / "shared.tar.gz"
    code, out, _ = run(kept, "archive", "crud-r1", "--to", str(target))
    assert (code, f"tar sha256  {told['tar_sha256']}" in out) == (0, True)
    assert target.read_bytes()[:2] == b"\x1f\x8b"
    assert sorted(path.name for path in tmp_path.glob("shared*")) == [target.name]


def test_archive_of_what_goes_on(kept: Path, output: Path) -> None:
    """A run that has not ended is not archived."""
    layout = RunLayout(output / "ghspec" / RUN)
    record = RunRecord.model_validate_json(layout.metadata.read_bytes())
    write_json(layout.metadata, record.model_copy(update={"outcome": None}))
    code, _, err = run(kept, "archive", "crud-r1")
    assert (code, "is not finished" in err) == (2, True)


def test_an_archive_stands_for_its_run(kept: Path, whole: RunLayout, tmp_path: Path) -> None:
    """Wherever a run is named, its archive can be, also with a step, and without any run directory."""
    file = tmp_path / "alone.tar.zst"
    whole.archive("zstd").rename(file)
    nowhere = tmp_path / "nowhere"
    assert run(nowhere, "steps", str(file))[1] == run(kept, "steps", "crud-r1")[1]
    assert run(nowhere, "diff", f"{file}@2")[1] == run(kept, "diff", "crud-r1@2")[1]
    assert run(nowhere, "open", f"{file}@1", str(tmp_path / "back"))[0] == 0
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["a.txt", "gone"]
    file.write_bytes(file.read_bytes()[:-50])
    code, _, err = run(nowhere, "steps", str(file))
    assert (code, "the archive is damaged" in err) == (6, True)


def test_steps_of_a_graph(kept: Path) -> None:
    """A graph's steps say their kind, what they come after, how often they were tried and what was left out."""
    layout = RunLayout(kept / "ghspec" / RUN)
    record = RunRecord.model_validate_json(layout.metadata.read_bytes())
    first, second, third = record.run.steps
    planned = (first, second.model_copy(update={"depends_on": (), "kind": "check"}), third)
    skipped = record.steps[1].model_copy(
        update={
            "id": "teacher",
            "index": 3,
            "outcome": "skipped",
            "reason": "left out: `when` does not hold",
            "attempts": (),
        }
    )
    failed = record.steps[1].model_copy(update={"counts": False})
    update = {"run": record.run.model_copy(update={"steps": planned}), "steps": (record.steps[0], failed, skipped)}
    write_json(layout.metadata, record.model_copy(update=update))
    _, out, _ = run(kept, "steps", "crud-r1")
    rows = [line.split() for line in out.splitlines()]
    assert rows[0][:5] == ["#", "step", "kind", "after", "outcome"]
    assert rows[2][:6] == ["1", "student", "prompt", "\N{EN DASH}", "passed", "2"]
    assert rows[3][:5] == ["2", "course", "check", "\N{EN DASH}", "failed"]
    assert rows[4][:5] == ["3", "teacher", "prompt", "course", "skipped"]
    assert "course: exit code 3; the run goes on without it" in out
    assert "teacher: left out: `when` does not hold" in out
    shown = json.loads(run(kept, "steps", "crud-r1", "--json")[1])["steps"][1]
    assert (shown["after"], shown["counts"], shown["record"]["kind"], shown["attempts"]) == ([], False, "prompt", 1)


def test_steps_of_a_run_under_way_have_their_own_numbers(kept: Path) -> None:
    """Before a run has metrics, its steps' files tell what those that ended took."""
    layout = RunLayout(kept / "ghspec" / RUN)
    layout.metrics.rename(layout.step(1).metrics)
    first = json.loads(run(kept, "steps", "crud-r1", "--json")[1])["steps"][0]
    assert (first["seconds"], first["tokens_in"]) == (60.0, 1234)


def test_verify_names_damaged_values_and_calls(kept: Path, whole: RunLayout) -> None:
    """A value that is not what its step's record says is named, a missing one too, and a damaged body of a call."""
    record = RunRecord.model_validate_json(whole.metadata.read_bytes())
    value = ValueRecord(name="v", type="text", path="outputs/v", bytes=1, sha256="0" * 64)
    first = record.steps[0].model_copy(update={"outputs": (value, value.model_copy(update={"path": "outputs/w"}))})
    write_json(whole.step(1).metadata, first)
    write_json(whole.metadata, record.model_copy(update={"steps": (first, *record.steps[1:])}))
    whole.step(1).given.mkdir()
    (whole.step(1).given / "v").write_text("x")
    bodies = whole.calls.parent / "bodies"
    bodies.mkdir(parents=True)
    whole.calls.write_text("")
    (bodies / f"{'a' * 64}.zst").write_bytes(b"no body")
    code, out, _ = run(kept, "verify", "crud-r1", "--json")
    problems = json.loads(out)["problems"]
    assert (code, [*problems]) == (6, ["values", "llm"])
    assert problems["values"][0].startswith("steps/step_001/outputs/v has sha256 2d711642")
    assert problems["values"][1] == "steps/step_001/outputs/w is missing"
    assert problems["llm"][0].startswith(f"llm/bodies/{'a' * 64}.zst: a recorded body is damaged: ")
