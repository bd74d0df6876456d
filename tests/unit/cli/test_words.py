"""What commands say about things that are right in form and lead nowhere."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from support.planning import make_experiment, make_plan

from runner.cli.commands.images import show_findings
from runner.cli.console import Console
from runner.cli.forking import prompts_of, unread_prompts
from runner.cli.main import main
from runner.errors import ConfigError
from runner.images.models import Finding
from runner.spec.model import Model


def test_lines_of_a_finding_stand_below_each_other(plain_console: Console, pipe: io.StringIO) -> None:
    """What a check of images says in several lines is shown in several."""
    show_findings(plain_console, [Finding(name="base", ok=False, text="no lock\nbecause\nrunner images lock base")])
    assert pipe.getvalue() == "fail base: no lock\n     because\n     runner images lock base\n"


def test_prepared_answers_do_not_read_prompts() -> None:
    """A fork with a new prompt says so where answers were prepared, and nothing with a real model or none."""
    scripted, real = (make_plan(make_experiment(model=one))[0] for one in (Model(), Model(provider="openai", name="m")))
    assert unread_prompts(scripted, {"begin": "Other."}) == (
        "scripted model: its answers were prepared, and do not depend on the prompt of `begin`"
    )
    assert unread_prompts(scripted, {}) == ""
    assert unread_prompts(real, {"begin": "Other."}) == ""
    assert unread_prompts(scripted.model_copy(update={"model": None}), {"begin": "Other."}) == ""


def test_a_prompt_that_cannot_be_read(tmp_path: Path) -> None:
    """A prompt's file that is not there is an error that says what else may be written."""
    with pytest.raises(ConfigError, match="cannot read the prompt") as caught:
        prompts_of([f"teacher=@{tmp_path}/none.md"])
    assert "--prompt STEP=TEXT" in caught.value.hint


def test_a_bundle_that_is_not_there(tmp_path: Path) -> None:
    """A bundle that is not there is an error that says what writes one."""
    err = io.StringIO()
    code = main(["-C", str(tmp_path), "import", "no.bundle"], environment={}, out=io.StringIO(), err=err)
    assert (code, "-> `runner export RUN --bundle FILE` writes one" in err.getvalue()) == (2, True)
