"""What is found: assertions that are announced before anything is done, findings, figures."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PASSED, FAILED, UNJUDGED = "passed", "failed", "unjudged"
MOST_ASSERTIONS, MOST_FINDINGS = 2000, 500
MOST_TEXT, MOST_REASON = 4096, 1000
"""Characters of a body or a log's tail, and of a reason, that are written."""


@dataclass(kw_only=True)
class Assertion:
    """One thing that is so, or not, or that could not be judged; until it is, it is the last."""

    id: str
    operation: str
    entity: str = ""
    valid: bool | None = None
    verdict: str = UNJUDGED
    reason: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)


class Report:
    """Collects what is found; nothing in it has passed unless somebody said so."""

    def __init__(self) -> None:
        self.application: dict[str, Any] | None = None
        self.figures: dict[str, float | int | None] = {}
        self._assertions: dict[str, Assertion] = {}
        self._findings: dict[tuple[str, str, str, int | None, str], dict[str, Any]] = {}

    def expect(self, name: str, operation: str, *, entity: str = "", valid: bool | None = None) -> None:
        """Announce an assertion; beyond 2,000 none is taken."""
        if name not in self._assertions and len(self._assertions) < MOST_ASSERTIONS:
            self._assertions[name] = Assertion(id=name, operation=operation, entity=entity, valid=valid)

    def passed(self, name: str, **evidence: Any) -> None:
        """Say that something is so."""
        self._say(name, PASSED, "", evidence)

    def failed(self, name: str, reason: str, **evidence: Any) -> None:
        """Say that something is not so, and why we think that."""
        self._say(name, FAILED, reason, evidence)

    def unjudged(self, name: str, reason: str, **evidence: Any) -> None:
        """Say why something could not be judged."""
        self._say(name, UNJUDGED, reason, evidence)

    def has_passed(self, name: str) -> bool:
        """Tell whether an assertion has been found to be so."""
        one = self._assertions.get(name)
        return one is not None and one.verdict == PASSED

    def open(self) -> list[Assertion]:
        """List the assertions about which nothing has been said."""
        return [one for one in self._assertions.values() if one.verdict == UNJUDGED and not one.reason]

    def close(self, reason: str) -> None:
        """Give every assertion about which nothing has been said the same reason."""
        for one in self.open():
            one.reason = reason[:MOST_REASON]

    def find(self, tool: str, rule: str, message: str, *, file: str = "", line: int | None = None) -> None:
        """Note a remark once; beyond 500 none is taken."""
        key = (tool, rule, file, line, message)
        if key not in self._findings and len(self._findings) < MOST_FINDINGS:
            self._findings[key] = {
                "tool": tool,
                "rule": rule,
                "file": file,
                "line": line,
                "message": message[:MOST_REASON],
            }

    def content(self, judge: dict[str, Any]) -> dict[str, Any]:
        """Return everything as JSON."""
        return {
            "format": 1,
            "judge": judge,
            "application": self.application,
            "assertions": [vars(one) for one in self._assertions.values()],
            "figures": self.figures,
            "findings": list(self._findings.values()),
        }

    def _say(self, name: str, verdict: str, reason: str, evidence: dict[str, Any]) -> None:
        if one := self._assertions.get(name):
            one.verdict, one.reason, one.evidence = verdict, reason[:MOST_REASON], evidence


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a verdict in one piece: whoever reads finds all of it or nothing."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8") as out:
        json.dump(content, out, ensure_ascii=True, indent=1)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)
