"""Assertions of checks, in few words."""

from __future__ import annotations

from collections.abc import Callable

from runner.evidence.verdicts import Assertion, CheckVerdict, Said

Judged = Callable[..., CheckVerdict]
"""Makes the verdict of one check after a step."""


def said(verdict: Said, *names: str) -> list[Assertion]:
    """Return assertions with one verdict, named `<entity>.<operation>` for valid data, with `!` before it for other."""
    found = []
    for name in names:
        entity, _, operation = name.removeprefix("!").rpartition(".")
        invalid = name.startswith("!")
        about = None if not entity else not invalid
        found.append(
            Assertion(
                id=f"{name}.{'invalid' if invalid else 'valid'}",
                entity=entity,
                operation=operation,
                valid=about,
                verdict=verdict,
                reason="" if verdict == "passed" else f"{name} is {verdict}",
            )
        )
    return found
