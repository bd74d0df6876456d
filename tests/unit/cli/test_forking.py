"""What is refused of a fork before anything of it is begun."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from runner.cli.journal import Journal, Opened, journal_path
from runner.cli.main import main
from runner.evidence.history.snapshot import open_history, take_snapshot
from runner.evidence.layout import RunLayout
from runner.evidence.tree import scan


@pytest.fixture
def kept(project: Path, output: Path) -> Path:
    """Return the folder of runs; the first one's first step is kept, and the last work in it was told of."""
    recipe = project / "images" / "ghspec" / "framework.yaml"
    (recipe.parent / "src").mkdir(parents=True)
    (recipe.parent / "src" / "agent.txt").write_text("agent", encoding="utf-8")
    demo = (project / "images" / "demo" / "framework.yaml").read_text(encoding="utf-8")
    recipe.write_text(demo.replace("demo", "ghspec"), encoding="utf-8")
    layout = RunLayout(output / "ghspec" / "crud-r1-0123456789")
    layout.workspace.mkdir()
    take_snapshot(open_history(layout.history), layout.workspace, scan(layout.workspace), 1, "student")
    with Journal(output, Opened(pid=os.getpid(), experiment="default", label="", time=1.0)):
        pass
    return output


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("--prompt", "techer=shorter"), 2, "no step techer with a prompt is done in the fork"),
        (("--scenario", "hello", "--prompt", "student=shorter"), 2, "no step student with a prompt"),
        (("--prompt", "teacher=shorter"), 4, "engine"),
        (("--scenario", "hello"), 4, "engine"),
    ],
)
def test_a_mistake_comes_before_everything_else(
    project: Path, kept: Path, argv: tuple[str, ...], code: int, words: str
) -> None:
    """What is wrong with a fork is said before an engine is asked, and what was told of the last work stays."""
    before = journal_path(kept).read_bytes()
    err = io.StringIO()
    line = ["-C", str(project), "fork", "crud-r1@student", *argv, "--output", str(kept)]
    nobody = {"DOCKER_HOST": f"unix://{project}/nobody.sock"}
    assert main(line, environment=nobody, out=err, err=err) == code, err.getvalue()
    assert words in err.getvalue()
    assert journal_path(kept).read_bytes() == before
