"""How results name a model."""

from __future__ import annotations

from runner.spec.models import Model


def model_label(model: Model | None) -> str:
    """Return how tables, pages and records name the model: `scripted model`, `openai/gpt-4o-mini` or `no model`."""
    if model is None:
        return "no model"
    return "scripted model" if model.provider == "scripted" else f"{model.provider}/{model.name}"
