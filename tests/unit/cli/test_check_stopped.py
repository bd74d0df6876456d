"""`runner check` that was stopped."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from runner.cli.judging import Judgements
from runner.cli.main import main
from runner.errors import ExitCode
from runner.evidence.verdicts import CheckVerdict


@pytest.mark.parametrize("cancelled", [True, False])
def test_it_says_so_and_ends_as_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, cancelled: bool
) -> None:
    """Whoever stopped it reads that what was judged before stays, and the exit code is that of an interruption."""
    verdict = CheckVerdict(check="app", kind="imports", step="a", index=1, version="1", unjudged=1, reason="stopped")
    found = Judgements(subject="mini/crud-r1", verdicts=[verdict], kept=tmp_path, cancelled=cancelled)
    monkeypatch.setattr("runner.cli.judging.judge", lambda *_: found)
    out, err = io.StringIO(), io.StringIO()
    code = main(["check", "crud-r1"], environment={}, out=out, err=err)
    assert code == (ExitCode.INTERRUPTED if cancelled else ExitCode.BROKEN), err.getvalue()
    assert ("stopped before everything was judged" in out.getvalue()) is cancelled
