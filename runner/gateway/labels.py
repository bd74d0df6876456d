"""How results name a model."""

from __future__ import annotations

from runner.spec.model import Model

SCRIPTED = "scripted model"
"""Label of a model whose answers are prepared."""
REPLAY = "replay of "
"""Begins the label of a model whose answers are those of an earlier run."""


def model_label(model: Model | None) -> str:
    """Return how tables, pages and records name the model: who answered, and that it was prepared or a replay.

    Like `scripted model`, `openai/gpt-4o-mini`, `replay of gpt-4o-mini`, `replay of scripted model` or `no model`.
    """
    if model is None:
        return "no model"
    if model.provider == "replay":
        return f"{REPLAY}{SCRIPTED if model.name == 'scripted' else model.name}"
    return SCRIPTED if model.provider == "scripted" else f"{model.provider}/{model.name}"
