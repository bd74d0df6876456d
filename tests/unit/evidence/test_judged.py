"""The index of a run's verdicts: which of them is the newest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.evidence.judged import index_verdicts, keep_verdict, whole_verdicts
from runner.evidence.layout import RunLayout
from runner.evidence.verdicts import CheckVerdict

GOOD: dict[str, Any] = {"passed": 3, "exit_code": 0, "judged_at": "2026-01-01T00:00:00Z", "image_id": "sha256:c"}
STOPPED: dict[str, Any] = {"unjudged": 1, "reason": "stopped by the user before it was judged"}
NO_IMAGE: dict[str, Any] = {
    "unjudged": 1,
    "reason": "there is no image that judges",
    "judged_at": "2026-01-02T00:00:00Z",
}
NOT_RUN: dict[str, Any] = {"unjudged": 1, "reason": "the check could not be run: no answer", "image_id": "sha256:c"}
KILLED: dict[str, Any] = {"unjudged": 1, "reason": "the check was killed", "exit_code": 137, "image_id": "sha256:c"}
BAD: dict[str, Any] = {"failed": 1, "judged_at": "2026-01-02T00:00:00Z"}


@pytest.mark.parametrize(
    ("older", "newer", "wins"),
    [
        (GOOD, STOPPED, GOOD),
        (GOOD, NO_IMAGE, GOOD),
        (GOOD, NOT_RUN, GOOD),
        (KILLED, STOPPED, KILLED),
        (GOOD, KILLED, KILLED),
        (GOOD, BAD, BAD),
        (STOPPED, NO_IMAGE, NO_IMAGE),
        (STOPPED, GOOD, GOOD),
    ],
)
def test_what_judged_nothing_replaces_nothing_that_did(
    tmp_path: Path, older: dict[str, Any], newer: dict[str, Any], wins: dict[str, Any]
) -> None:
    """The newest verdict counts, but one that says nothing leaves what was said before."""
    layout = RunLayout(tmp_path)
    for version, what in (("1", older), ("2", newer)):
        verdict = CheckVerdict(check="app", kind="imports", step="a", index=1, version=version, **what)
        kept = layout.judged_later(version)
        keep_verdict(kept, verdict)
        index_verdicts(layout, kept, [verdict])
    (found,) = whole_verdicts(layout)
    assert {name: getattr(found, name) for name in wins} == wins
