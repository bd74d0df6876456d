"""What has become of runs that were begun and have not ended."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from runner.evidence.layout import RunLayout
from runner.execution.approvals import decided
from runner.execution.resume import goes_on_at, read_record
from runner.plan.resume import PastRun
from runner.report.waiting import answered_words


def look_for_answers(output: Path, past: Mapping[str, PastRun]) -> Mapping[str, PastRun]:
    """Return past runs with what was decided on those that wait; only their directories are looked into.

    Args:
        output: folder of run directories.
        past: past runs by digest, as the ledger tells.

    Raises:
        StorageError: if a decision cannot be read.
    """
    return {digest: _looked_at(output, one) if one.waits_for else one for digest, one in past.items()}


def look_for_cut_off(output: Path, past: Mapping[str, PastRun], boot: str) -> Mapping[str, PastRun]:
    """Return past runs with the step at which those go on that were cut off; only their directories are looked into.

    Args:
        output: folder of run directories.
        past: past runs by digest, as the ledger tells.
        boot: the machine's boot.
    """
    return {
        digest: one
        if one.outcome is not None or one.waits_for
        else replace(one, goes_on_at=goes_on_at(RunLayout(output / one.directory), boot))
        for digest, one in past.items()
    }


def _looked_at(output: Path, past: PastRun) -> PastRun:
    layout = RunLayout(output / past.directory)
    record = read_record(layout)
    if record is None or record.outcome is not None or not record.suspended:
        # The ledger is behind: the run is dealt with like any other that was begun.
        return replace(past, waits_for=())
    for asked in record.suspended:
        decision = decided(layout, asked, time.time())
        if decision is not None:
            return replace(past, answered=answered_words(asked.step, decision))
    return past
