"""Commands that look at the steps of a run."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from runner.cli.main import main
from runner.evidence.archive import write_archive
from runner.evidence.history.oci import read_steps
from runner.evidence.history.snapshot import open_history, take_snapshot
from runner.evidence.layout import RunLayout
from runner.evidence.tree import scan

RUN = "crud-r1-0123456789"


def run(output: Path, *argv: str) -> tuple[int, str, str]:
    """Run a command line on a folder of runs and return exit code, stdout and stderr."""
    raw, err = io.BytesIO(), io.StringIO()
    out = io.TextIOWrapper(raw, encoding="utf-8")
    code = main([*argv, "--output", str(output)], environment={}, out=out, err=err)
    out.flush()
    return code, raw.getvalue().decode(), err.getvalue()


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
    ],
)
def test_step_that_is_not_there(kept: Path, text: str, words: str) -> None:
    """A step that is not kept is refused with what there is, or why there is nothing."""
    code, _, err = run(kept, "open", text)
    assert code != 0
    assert words in err


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


def test_verify(kept: Path) -> None:
    """A run's history and archive are checked, an archive alone too; damage ends with an exit code of its own."""
    layout = RunLayout(kept / "ghspec" / RUN)
    write_archive(layout, "zstd")
    assert run(kept, "verify", "crud-r1")[:2] == (0, "history: as it was written\nrun.tar.zst: as it was written\n")
    blob = next((layout.history / "blobs" / "sha256").iterdir())
    blob.write_bytes(b"damaged")
    code, out, _ = run(kept, "verify", "crud-r1", "--json")
    problems = json.loads(out)["problems"]
    assert (code, [*problems]) == (6, ["history"])
    assert any(blob.name in problem for problem in problems["history"])
    assert run(kept, "verify", str(layout.archive("zstd")))[0] == 0
    assert run(kept, "verify", "crud-r2")[0] == 6
