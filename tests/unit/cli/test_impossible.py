"""What is said of runs that are not possible here, and of recipes that come to nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

from runner.cli.commands import images
from runner.cli.console import Console
from runner.cli.results import Results, impossible_lines, show_results
from runner.errors import ExitCode, ImageError, RunnerError
from runner.images.models import BuiltImage
from runner.images.reach import Unreachable
from runner.plan.impossible import Impossible

LEFT_OUT = (Impossible(framework="away", scenario="hello", runs=2, images=("away",)),)
WHY = {"away": "a.org cannot be reached"}
READY = BuiltImage(name="here", tag="t:1", id="sha256:1", engine_id="sha256:1", inputs="1", built=False)


def test_runs_without_an_image_are_named_with_the_reason() -> None:
    """Framework, scenario, number and reason stand there, and that nothing is recorded; of nothing, nothing is said."""
    assert impossible_lines(LEFT_OUT, WHY) == [
        "not possible here: 2 runs, for want of an image; nothing is recorded of them",
        "  away, hello: 2 runs (image of away: a.org cannot be reached)",
        "  each runner go tries to build again",
    ]
    assert impossible_lines((), {}) == []


def test_the_document_has_them_too() -> None:
    """With --json they are values beside the runs, which they are not among."""
    out = io.StringIO()
    results = Results(
        experiment="e", label="m", output=Path("runs"), rows=(), code=5, images_failed=WHY, impossible=LEFT_OUT
    )
    show_results(Console(out=out, err=io.StringIO(), to_json=True), results)
    document = json.loads(out.getvalue())
    assert document["runs"] == []
    assert document["impossible"] == [{"framework": "away", "scenario": "hello", "runs": 2, "images": ["away"]}]


def test_what_cannot_be_reached_is_told_from_what_is_wrong() -> None:
    """`images build` names both apart, goes on with the others, and its exit code tells that some are missing."""
    out, err = io.StringIO(), io.StringIO()
    wrong = ImageError("the smoke test of twin failed with exit code 1")
    away = Unreachable("a.org cannot be reached")
    results: Mapping[str, int | BuiltImage | RunnerError] = {"away": away, "twin": wrong, "here": READY}
    assert images._tell(Console(out=out, err=err), results) == ExitCode.IMAGE
    assert out.getvalue().splitlines() == [
        "here: ready t:1 sha256:1",
        "not buildable here, as a source cannot be reached: away",
        "failed: twin",
        "the others are made; runner go carries out what can be done with them",
    ]


def test_where_all_is_made_nothing_is_said() -> None:
    """No word about failures if there are none."""
    out = io.StringIO()
    assert images._tell(Console(out=out, err=out), {"here": READY}) == ExitCode.PASSED
    assert out.getvalue() == "here: ready t:1 sha256:1\n"
