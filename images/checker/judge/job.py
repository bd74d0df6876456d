"""One check to carry out: what is asked, where, with what, by when, and where what is found goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from judge.asked import Check
from judge.clock import Clock
from judge.report import Report


@dataclass(frozen=True, kw_only=True)
class Job:
    """A check under way."""

    check: Check
    workspace: Path
    environment: Mapping[str, str]
    """This program's own environment."""
    report: Report
    clock: Clock
