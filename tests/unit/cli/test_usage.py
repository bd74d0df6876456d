"""`du` says what uses the disk, the largest first, everything once."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import pytest

from runner.cli.main import main
from runner.engine import docker
from runner.errors import EngineError
from runner.evidence.kept import keep
from runner.evidence.usage import Meter


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """Return settings with a cache of this test, and let no engine answer."""

    def connect(_: object) -> NoReturn:
        raise EngineError("no engine answers")

    monkeypatch.setattr(docker, "connect", connect)
    (tmp_path / "cache" / "cas").mkdir(parents=True)
    (tmp_path / "cache" / "cas" / "artifact").write_bytes(b"x" * 50_000)
    return {"RUNNER_CACHE": str(tmp_path / "cache")}


def run(project: Path, environment: Mapping[str, str], *argv: str) -> str:
    """Run `du` in a project and return stdout."""
    out = io.StringIO()
    assert main(["-C", str(project), "du", *argv], environment=environment, out=out, err=io.StringIO()) == 0
    return out.getvalue()


def test_everything_counts_once(project: Path, output: Path, environment: Mapping[str, str]) -> None:
    """The sum of all is what the folders take together, though two runs share a file."""
    first, second = output / "ghspec/crud-r1-0123456789", output / "ghspec/crud-r2-0123999999"
    (first / "history").mkdir()
    (first / "history" / "blob").write_bytes(b"x" * 1_000_000)
    os.link(first / "history" / "blob", second / "blob")
    (first / "steps/step_001/attempts/01").mkdir(parents=True)
    (first / "steps/step_001/attempts/01/stdout.log").write_bytes(b"x" * 200_000)
    (output / ".superseded/ghspec/crud-r1.1").mkdir(parents=True)
    keep(output, "ghspec/crud-r2-0123999999", "figure 3")
    shown = json.loads(run(project, environment, "--json", "--output", str(output)))
    meter = Meter()
    framework_folder = (output / "ghspec").lstat().st_blocks * 512 + output.lstat().st_blocks * 512
    together = meter.measure(output) + meter.measure(Path(environment["RUNNER_CACHE"])) - framework_folder
    assert shown["bytes"] == together
    uses = {use["what"]: use for use in shown["uses"]}
    parts = {part["what"]: part["bytes"] for part in uses["runs"]["parts"]}
    assert (uses["runs"]["items"], uses["superseded runs"]["items"]) == (3, 1)
    assert parts["history of steps"] > 1_000_000
    assert parts["earlier attempts"] > 200_000
    assert parts["logs and files of steps"] < 100_000
    assert sum(parts.values()) == uses["runs"]["bytes"]
    assert shown["largest_runs"][0]["run"] == "ghspec/crud-r1-0123456789"
    assert shown["uses"][0]["what"] == "runs"


def test_what_cannot_be_measured_is_no_nought(project: Path, output: Path, environment: Mapping[str, str]) -> None:
    """Without an engine the images are a dash with the reason; the rest is measured all the same."""
    text = run(project, environment, "--output", str(output))
    assert "images: not measured: no engine answers" in text
    assert "fetched artifacts" in text
    shown = json.loads(run(project, environment, "--json", "--largest", "0", "--output", str(output)))
    images = next(use for use in shown["uses"] if use["what"] == "images")
    assert (images["bytes"], images["reason"]) == (None, "no engine answers")
    assert shown["largest_runs"] == []
