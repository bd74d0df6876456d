"""Pinned sampling parameters under the names that a format has for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.spec.model import Sampling


def pinner(*, longest: Sequence[str], seed: bool) -> Callable[[Mapping[str, Any], Sampling, int], dict[str, Any]]:
    """Return a format's `pins`.

    Args:
        longest: names of the longest answer's tokens; those the request uses are replaced, else the first is added.
        seed: whether the format has a seed.
    """

    def pins(body: Mapping[str, Any], sampling: Sampling, repetition: int) -> dict[str, Any]:
        wanted: dict[str, Any] = {"temperature": sampling.temperature, "top_p": sampling.top_p}
        used = [name for name in longest if body.get(name) is not None] or longest[:1]
        wanted |= dict.fromkeys(used, sampling.max_tokens)
        if seed:
            wanted["seed"] = repetition if sampling.seed == "repetition" else sampling.seed
        return {name: value for name, value in wanted.items() if value is not None and body.get(name) != value}

    return pins
