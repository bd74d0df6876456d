"""Graphs of steps for tests: by hand, and at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from runner.plan.models import PlannedStep
from runner.spec.models import Limits

NAMES = "abcdefghijklmnopqrstuvwxyz"


def step(name: str, index: int, after: Sequence[str] | None = None, **changes: Any) -> PlannedStep:
    """Return a planned step that waits for others, by default for the one before it."""
    planned = PlannedStep(
        id=name,
        index=index,
        title=name,
        prompt=f"Do {name}.",
        prompt_sha256="0" * 64,
        expect_changes=False,
        limits=Limits(),
        depends_on=None if after is None else tuple(after),
    )
    return planned.model_copy(update=changes)


def chart(text: str, **changes: dict[str, Any]) -> tuple[PlannedStep, ...]:
    """Return steps from a line such as `a b:a c:a d:b,c e:`; what follows the colon is waited for.

    Args:
        text: steps in order; one without a colon waits for the one before it.
        changes: further fields of single steps, by step.
    """
    steps = []
    for index, word in enumerate(text.split(), start=1):
        name, colon, names = word.partition(":")
        after = [one for one in names.split(",") if one] if colon else None
        steps.append(step(name, index, after, **changes.get(name, {})))
    return tuple(steps)


@st.composite
def graphs(
    draw: st.DrawFn,
    *,
    most: int = 12,
    kinds: Sequence[str] = ("prompt",),
    workspaces: Sequence[str] = ("own", "own", "read-only", "none"),
) -> tuple[PlannedStep, ...]:
    """Draw a graph of steps; every dependency has a smaller position."""
    steps: list[PlannedStep] = []
    for index in range(1, draw(st.integers(1, most)) + 1):
        earlier = [one.id for one in steps]
        subset = st.lists(st.sampled_from(earlier), unique=True, max_size=3) if earlier else st.just([])
        after = draw(st.one_of(st.none(), subset))
        steps.append(
            step(
                NAMES[index - 1],
                index,
                None if after is None else sorted(after),
                kind=draw(st.sampled_from(kinds)),
                workspace=draw(st.sampled_from(workspaces)),
                continue_on_failure=draw(st.booleans()),
            )
        )
    return tuple(steps)
