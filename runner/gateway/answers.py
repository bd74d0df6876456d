"""Scripted answers: what the model says at each call of each step, from `images/<framework>/answers/<scenario>.yaml`.

    version: 1
    steps:
      student:                          # id of the scenario's step
        - content: I look at what is there.
          tool_calls:
            - name: bash
              arguments: {command: ls -la}
        - expect: total [0-9]+          # must be found in the last message of this request
          content: Nothing to do.
          usage: {tokens_in: 900, tokens_out: 12, tokens_cached: 800}

Answers of a repeated step's repetitions, `page.1` and so on, may stand under `page` for all of them. The first call of an
attempt gets the step's first answer, and so on; a new attempt starts again with the first.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from runner.errors import ConfigError
from runner.spec.base import Spec

_REPETITION = re.compile(r"\.[0-9]+(?=\.|$)")
"""Number of a repetition in the id of a step."""


class ToolCall(Spec):
    """A tool the scripted model asks the framework to use."""

    name: str = Field(min_length=1, description="Name of the tool; one of those the request offers.")
    arguments: dict[str, JsonValue] = Field(default_factory=dict, description="Its arguments, handed over as JSON.")


class ScriptedUsage(Spec):
    """Tokens that an answer says it took."""

    tokens_in: int = Field(ge=0, description="Tokens of the request, cached ones included.")
    tokens_out: int = Field(ge=0, description="Tokens of the answer.")
    tokens_cached: int = Field(0, ge=0, description="Tokens of the request that came from a cache.")


class ScriptedAnswer(Spec):
    """One answer: text, tool calls, or both."""

    content: str | None = Field(None, description="Text of the answer.")
    tool_calls: tuple[ToolCall, ...] = Field((), description="Tools to use, in order.")
    expect: str | None = Field(
        None,
        description="Regular expression (Python's, over several lines) that must be found in the text of the "
        "request's last message, so that a script that no longer fits says so.",
    )
    usage: ScriptedUsage | None = Field(None, description="Tokens to state; by default counted by rule.")

    @field_validator("expect")
    @classmethod
    def _is_expression(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"{value!r} is not a regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _says_something(self) -> ScriptedAnswer:
        if not self.content and not self.tool_calls:
            raise ValueError("an answer needs `content` or `tool_calls`")
        return self


class Answers(Spec):
    """Scripted answers of one framework to one scenario."""

    version: Literal[1] = Field(description="Version of this format.")
    steps: dict[str, tuple[ScriptedAnswer, ...]] = Field(description="Answers by step id, in the order of the calls.")


def load_answers(path: Path) -> Answers:
    """Read a file of scripted answers.

    Raises:
        ConfigError: if it cannot be read or does not follow the format, with file and line.
    """
    from runner.spec.validate import validate
    from runner.spec.yaml import load_yaml

    return validate(load_yaml(path), Answers)


def answers_of(answers: Answers, path: Path, step: str, *, needed: bool) -> tuple[ScriptedAnswer, ...]:
    """Return the answers to one step; those of a repetition, like `page.2`, may stand under `page` for all of them.

    Args:
        answers: what a file says.
        path: that file.
        step: id of the step.
        needed: whether the step is of no use without any.

    Raises:
        ConfigError: if there are none and some are needed.
    """
    found = answers.steps.get(step) or answers.steps.get(_REPETITION.sub("", step))
    if found or not needed:
        return found or ()
    raise ConfigError(
        f"no scripted answers for {step}",
        where=str(path),
        why=f"it has answers for {', '.join(answers.steps) or 'no step'}",
        hint="add them under `steps`, or choose a real model, like --model openai/gpt-4o-mini",
    )
