"""The adapter of the recipe opencode, with a stand-in for the agent's program."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Load = Callable[[str, str], ModuleType]

FAKE = """#!/bin/sh
# Stands for OpenCode: keeps what it was given, and prints the events it is told to.
printf '%s\\n' "$@" > "$KEPT/arguments"
cat > "$KEPT/message"
printf '%s' "$OPENCODE_CONFIG_CONTENT" > "$KEPT/settings"
printf '%s' "$EVENTS"
exit "$CODE"
"""


@pytest.fixture
def adapter(recipe_module: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The adapter of opencode, whose program is a stand-in."""
    adapter = recipe_module("opencode", "adapter")
    for name, value in (("STEP", "step.json"), ("PROMPT", "prompt.txt"), ("OUT", "out"), ("PROGRAM", "opencode")):
        monkeypatch.setattr(adapter, name, tmp_path / value)
    (tmp_path / "step.json").write_text('{"seed": 7, "step": {"id": "student"}}')
    (tmp_path / "prompt.txt").write_text("/build 'it'\n" * 20_000)
    (tmp_path / "out").mkdir()
    adapter.PROGRAM.write_text(FAKE)
    adapter.PROGRAM.chmod(0o755)
    monkeypatch.setenv("KEPT", str(tmp_path))
    monkeypatch.setenv("RUNNER_MODEL", "some/model")
    return adapter


def _ends(monkeypatch: pytest.MonkeyPatch, *events: dict[str, Any] | str, code: int = 0) -> None:
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    monkeypatch.setenv("EVENTS", "".join(f"{line}\n" for line in lines))
    monkeypatch.setenv("CODE", str(code))


def _text(words: str) -> dict[str, Any]:
    return {"type": "text", "part": {"type": "text", "text": words}}


def _finish(reason: str) -> dict[str, Any]:
    return {"type": "step_finish", "part": {"type": "step-finish", "reason": reason}}


def _phase(adapter: ModuleType) -> dict[str, Any]:
    (phase,) = json.loads((adapter.OUT / "result.json").read_text())["phases"]
    return dict(phase)


@pytest.mark.processes
def test_the_agent_gets_message_model_and_seed(
    adapter: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt of any length goes by standard input; the settings name one provider, the run's model, and its seed."""
    _ends(monkeypatch, _text("Done."), _finish("stop"))
    assert adapter.main() == 0
    assert (tmp_path / "message").read_text() == adapter.PROMPT.read_text()
    assert (tmp_path / "arguments").read_text().split() == ["run", "--format", "json", "--title", "student"]
    settings = json.loads((tmp_path / "settings").read_text())
    assert settings["model"] == settings["small_model"] == "gateway/some/model"
    assert settings["enabled_providers"] == ["gateway"]
    assert settings["provider"]["gateway"]["models"] == {"some/model": {"name": "some/model", "options": {"seed": 7}}}
    assert settings["provider"]["gateway"]["options"]["baseURL"] == "{env:OPENAI_BASE_URL}"


ENDINGS: dict[str, tuple[tuple[dict[str, Any] | str, ...], int, int, str]] = {
    "finished": ((_finish("tool-calls"), _text("All\ndone."), _finish("stop")), 0, 0, "All done."),
    "noise": (("not json", "[1]", _text("Done."), _finish("stop")), 0, 0, "Done."),
    "cut short": ((_text("I was"), _finish("length")), 0, 1, "the last answer ended with: length"),
    "refused": (({"type": "error", "error": {"name": "APIError"}},), 0, 1, '{"name": "APIError"}'),
    "silent": ((), 0, 1, "the last answer ended with: nothing"),
    "killed": ((_text("Done."), _finish("stop")), 137, 137, "Done."),
}


@pytest.mark.processes
@pytest.mark.parametrize("ending", ENDINGS)
def test_only_an_answer_that_ends_by_itself_is_success(
    adapter: ModuleType, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """An exit code of 0 without such an answer is a failure, and the reason is told."""
    events, code, expected, detail = ENDINGS[ending]
    _ends(monkeypatch, *events, code=code)
    assert adapter.main() == expected
    phase = _phase(adapter)
    assert (phase["name"], phase["exit_code"], phase["detail"]) == ("agent", expected, detail)
    assert phase["seconds"] >= 0
    assert phase["started_at"] > 0
