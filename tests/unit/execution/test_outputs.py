"""What a step hands out: its outputs, checked, and the questions it asked."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.fake_world import World

from runner.evidence.layout import StepLayout
from runner.evidence.records import AnswerUse
from runner.execution.outputs import answer_outputs, answer_uses, collect_outputs
from runner.execution.values import Unusable
from runner.plan.models import PlannedAnswer, PlannedOutput, PlannedStep


@pytest.fixture
def files(tmp_path: Path) -> StepLayout:
    """Return the evidence of a step that wrote something to /out and to its standard output."""
    layout = StepLayout(tmp_path / "step")
    (layout.outputs / "sub").mkdir(parents=True)
    (layout.outputs / "sub" / "count.json").write_text(" 3\n")
    (layout.outputs / "raw").write_bytes(b"\xff\n")
    layout.log("stdout").write_text("yes\n\n")
    return layout


def _step(world: World, *outputs: dict[str, Any], **changes: Any) -> PlannedStep:
    planned = tuple(PlannedOutput(**{"name": "x", **one}) for one in outputs)
    return world.run.steps[0].model_copy(update={"outputs": planned, **changes})


def _collect(step: PlannedStep, files: StepLayout, workspace: Path | None, *, dropped: bool = False) -> list[bytes]:
    return [one.data for one in collect_outputs(step, files, workspace, dropped=dropped)]


def test_outputs_come_from_all_sources(world: World, files: StepLayout, tmp_path: Path) -> None:
    """JSON is kept in one form, bytes as they are, and a standard output without the line ends at its end."""
    (tmp_path / "notes.md").write_text("note\n")
    step = _step(
        world,
        {"source": "file", "path": "sub/count.json", "type": "number"},
        {"source": "file", "path": "raw", "type": "file"},
        {"source": "stdout"},
        {"source": "stdout", "type": "file"},
        {"source": "workspace", "path": "notes.md"},
    )
    assert _collect(step, files, tmp_path) == [b"3\n", b"\xff\n", b"yes", b"yes\n\n", b"note\n"]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ({"source": "file", "path": "none"}, "output `x` is missing: there is no none in /out"),
        ({"source": "file", "path": "raw"}, "output `x` is not UTF-8"),
        ({"source": "file", "path": "sub/count.json", "type": "list"}, "output `x` has to be a list, not 3"),
        ({"source": "file", "path": "sub"}, "sub in /out: Is a directory"),
        ({"source": "file", "path": "pipe"}, "not a regular file"),
        ({"source": "file", "path": "link"}, "output `x` cannot be taken: link in /out: it is a link"),
        ({"source": "file", "path": "../stdout.log"}, "leaves its folder"),
        ({"source": "file", "path": "large"}, "more than 1048576 bytes"),
        ({"source": "workspace", "path": "a"}, "which this step does not see"),
        ({"source": "stdout", "type": "number"}, "has to be a number"),
    ],
)
def test_what_is_not_as_promised_is_named(world: World, files: StepLayout, output: dict[str, Any], words: str) -> None:
    """A missing, ill-typed, linked, special or huge output ends in a sentence that names it."""
    (files.outputs / "link").symlink_to("raw")
    os.mkfifo(files.outputs / "pipe")
    (files.outputs / "large").write_bytes(b"x" * (1024**2 + 1))
    with pytest.raises(Unusable) as caught:
        _collect(_step(world, output), files, None)
    assert words in caught.value.what


def test_a_standard_output_with_a_gap_is_no_value(world: World, files: StepLayout) -> None:
    """Where bytes of the standard output were dropped it is not taken for the whole."""
    with pytest.raises(Unusable, match="longer than"):
        _collect(_step(world, {"source": "stdout"}), files, None, dropped=True)


@pytest.mark.parametrize(
    ("answer", "kind", "data"),
    [
        ("Fine.\n", "text", b"Fine.\n"),
        ("[1, 2]", "list", b"[1, 2]\n"),
        ('Here it is:\n```json\n{\n  "a": 1\n}\n```\nDone.', "object", b'{"a": 1}\n'),
        ("~~~\ntrue\n~~~", "boolean", b"true\n"),
    ],
)
def test_an_answer_becomes_a_value(world: World, answer: str, kind: str, data: bytes) -> None:
    """A text is taken as it is; JSON, from the whole answer or from its first fenced block."""
    step = _step(world, {"source": "answer", "type": kind})
    assert [one.data for one in answer_outputs(step, answer)] == [data]


@pytest.mark.parametrize("answer", ["I cannot.", "```json\nnot json\n```", "```json\n[1]\n```"])
def test_an_answer_of_another_type_is_refused(world: World, answer: str) -> None:
    """An answer that is no JSON, or other JSON than the step has to give, is refused by the output's name."""
    with pytest.raises(Unusable, match="the model's answer, output `x`, has to be an object"):
        answer_outputs(_step(world, {"source": "answer", "type": "object"}), answer)


def test_uses_of_answers_are_checked(world: World, files: StepLayout) -> None:
    """A digest of no answer the scenario has is not believed, and a line that is no record is counted, not used."""
    step = _step(world, answers=(PlannedAnswer(answer="yes"),))
    good, forged = hashlib.sha256(b"yes").hexdigest(), "0" * 64
    lines = [
        json.dumps({"question": "Shall I?", "answer_sha256": good, "time": 1}),
        json.dumps({"question": "And now?", "answer_sha256": None}),
        json.dumps({"question": "q" * 3000, "answer_sha256": forged}),
        "not json",
        "[1]",
    ]
    (files.outputs / ".answers.jsonl").write_text("\n".join(lines) + "\n")
    uses, notes = answer_uses(step, files)
    assert uses == (
        AnswerUse(question="Shall I?", answer_sha256=good),
        AnswerUse(question="And now?", answer_sha256=None),
        AnswerUse(question="q" * 2000, answer_sha256=None),
    )
    assert notes == (
        ".answers.jsonl has 2 lines that cannot be used",
        "1 of its questions name an answer that the scenario does not have; taken as unanswered",
    )


def test_a_step_that_asked_nothing_has_no_uses(world: World, files: StepLayout) -> None:
    """Without the file there is nothing to tell; a link in its place is not followed."""
    assert answer_uses(_step(world), files) == ((), ())
    (files.outputs / ".answers.jsonl").symlink_to("raw")
    uses, notes = answer_uses(_step(world), files)
    assert (uses, len(notes)) == ((), 1)
