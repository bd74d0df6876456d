"""Flags that let recorded calls answer, and variables that name a provider's endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.spec.located import Located
from runner.spec.overrides import ENDPOINTS, Overrides, apply_overrides


def _apply(model: dict[str, Any] | None, overrides: Overrides, environment: dict[str, str] | None = None) -> Located:
    value = {"name": "x", **({"model": model} if model is not None else {})}
    located = Located(value=value, path=Path("x.yaml"), shown="x.yaml", lines={}, texts={})
    return apply_overrides(located, overrides, environment or {})


def test_a_replay_keeps_the_model() -> None:
    """The model keeps its name and sampling; who answers, and how calls are found, is what the flags say."""
    model = {"provider": "openai", "name": "gpt-4o-mini", "sampling": {"temperature": 0}}
    found = _apply(model, Overrides(replay=True, replay_mode="sequence"))
    assert found.at(("model",)) == model | {"provider": "replay", "replay_mode": "sequence"}
    assert found.where(("model", "provider")) == "flag --replay"
    assert found.where(("model", "replay_mode")) == "flag --replay-mode"


def test_a_replay_of_another_model() -> None:
    """--model says which model's calls are meant, --replay who answers."""
    found = _apply({"provider": "scripted"}, Overrides(model="openai/o3", replay=True))
    assert found.at(("model",)) == {"provider": "replay", "name": "o3"}


def test_no_replay_without_the_flag() -> None:
    """Without the flag a model stays as it is."""
    assert _apply({"provider": "scripted"}, Overrides()).at(("model",)) == {"provider": "scripted"}


@pytest.mark.parametrize("provider", sorted(ENDPOINTS))
def test_endpoints_from_the_environment(provider: str) -> None:
    """Each provider's own variable names its endpoint, unless the file does; another provider's does not."""
    variable = ENDPOINTS[provider]
    environment = dict.fromkeys(ENDPOINTS.values(), "http://other") | {variable: "http://here"}
    found = _apply({"provider": provider, "name": "m"}, Overrides(), environment)
    assert found.at(("model", "base_url")) == "http://here"
    assert found.where(("model", "base_url")) == f"environment {variable}"
    model = {"provider": provider, "name": "m", "base_url": "http://file"}
    assert _apply(model, Overrides(), environment).at(("model", "base_url")) == "http://file"


def test_a_replay_has_no_endpoint() -> None:
    """A provider without an endpoint is given none."""
    found = _apply({"provider": "scripted"}, Overrides(), dict.fromkeys(ENDPOINTS.values(), "http://x"))
    assert found.at(("model", "base_url")) is None
