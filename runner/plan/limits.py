"""Merge limits: the experiment's, then the framework's, then the step's."""

from __future__ import annotations

from runner.spec.models import Limits, LimitsPatch


def merge_limits(base: Limits, *patches: LimitsPatch) -> Limits:
    """Return limits with each patch's values in place of what came before; a later patch wins.

    Args:
        base: limits of the experiment.
        patches: limits of the framework, then of the step; what is absent in one stays.
    """
    changed: dict[str, object] = {}
    for patch in patches:
        changed |= patch.model_dump(exclude_none=True)
    return base.model_copy(update=changed) if changed else base
