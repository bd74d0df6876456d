"""Whose scripted answers a step gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.gateway.answers import Answers, ScriptedAnswer, answers_of

FILE = Path("images/fw/answers/demo.yaml")
ANSWERS = Answers(
    version=1,
    steps={name: (ScriptedAnswer(content=name),) for name in ("page", "page.2", "v1.2", "part.page")},
)


@pytest.mark.parametrize(
    ("step", "found"),
    [
        ("page", "page"),
        ("page.1", "page"),
        ("page.2", "page.2"),
        ("page.12", "page"),
        ("v1.2", "v1.2"),
        ("part.3.page.1", "part.page"),
    ],
)
def test_a_repetition_has_its_own_answers_or_those_of_all(step: str, found: str) -> None:
    """An id as it is written counts first, then the id without the numbers of repetitions."""
    assert [one.content for one in answers_of(ANSWERS, FILE, step, needed=True)] == [found]


def test_only_who_surely_calls_the_model_needs_answers() -> None:
    """A framework without answers is a mistake in the file; a program that may never ask goes without."""
    assert answers_of(ANSWERS, FILE, "tests", needed=False) == ()
    with pytest.raises(ConfigError) as caught:
        answers_of(ANSWERS, FILE, "pages", needed=True)
    assert str(caught.value) == (
        "images/fw/answers/demo.yaml: no scripted answers for pages\n"
        "it has answers for page, page.2, v1.2, part.page\n"
        "add them under `steps`, or choose a real model, like --model openai/gpt-4o-mini"
    )
