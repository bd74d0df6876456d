"""The programs of the recipe aider, with a stand-in for aider itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

Load = Callable[[str, str], ModuleType]


@dataclass
class Conversation:
    """Stands for aider's `Coder`."""

    partial_response_content: str = "Two files.\n\nx.py\n```\n1\n```\n"
    reflected_message: str | None = None
    num_exhausted_context_windows: int = 0
    heard: str = ""
    preprocessed: bool | None = None
    fails: bool = False

    def run(self, with_message: str, *, preproc: bool) -> str | None:
        self.heard, self.preprocessed = with_message, preproc
        Path("made.py").write_text("made = True\n")
        Path(".aider.tags.cache.v4").mkdir()
        if self.fails:
            raise RuntimeError("aider fell over")
        return None


@pytest.fixture
def adapter(recipe_module: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The adapter of aider in a workspace that has one file."""
    adapter = recipe_module("aider", "adapter")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "there.py").write_text("there = True\n")
    monkeypatch.chdir(workspace)
    for name, value in (("STEP", "step.json"), ("PROMPT", "prompt.txt"), ("OUT", "out"), ("SCRATCH", "scratch")):
        monkeypatch.setattr(adapter, name, tmp_path / value)
    (tmp_path / "step.json").write_text('{"seed": 7}')
    (tmp_path / "prompt.txt").write_text("build it")
    (tmp_path / "out").mkdir()
    monkeypatch.setenv("RUNNER_MODEL", "some/model")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    return adapter


def _start(monkeypatch: pytest.MonkeyPatch, conversation: object) -> list[str]:
    """Let aider's `main` hand out a conversation, and return the list of arguments it will have been given."""
    given: list[str] = []

    def main(argv: list[str], *, return_coder: bool) -> object:
        assert return_coder
        given.extend(argv)
        known = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout.split()
        given.append(f"known: {' '.join(known)}")
        return conversation

    package, module = ModuleType("aider"), ModuleType("aider.main")
    module.main = main  # type: ignore[attr-defined]  # a stand-in has what it is given
    monkeypatch.setitem(sys.modules, "aider", package)
    monkeypatch.setitem(sys.modules, "aider.main", module)
    return given


def _result(adapter: ModuleType) -> tuple[str, int, str]:
    """Return message, exit code and detail of the one phase of the report."""
    content = json.loads((adapter.OUT / "result.json").read_text())
    (phase,) = content["phases"]
    return content["message"], phase["exit_code"], phase["detail"]


@pytest.mark.processes
def test_the_prompt_is_one_message(adapter: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Aider hears the prompt, knows the files that are there, and gets model and seed; the first line is the detail."""
    conversation = Conversation()
    given = _start(monkeypatch, conversation)
    assert adapter.main() == 0
    assert (conversation.heard, conversation.preprocessed) == ("build it", True)
    assert given[-1] == "known: there.py"
    assert given[given.index("--model") + 1] == "openai/some/model"
    settings = json.loads(Path(given[given.index("--model-settings-file") + 1]).read_text())
    assert settings == [{"name": "aider/extra_params", "extra_params": {"seed": 7, "max_retries": 3}}]
    assert _result(adapter) == ("aider ended: Two files.", 0, "Two files.")


@pytest.mark.processes
@pytest.mark.parametrize("fails", [False, True])
def test_the_workspace_holds_the_product_alone(
    adapter: ModuleType, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    """Neither the repository that aider needs nor its caches stay in the workspace, even if aider falls over."""
    _start(monkeypatch, Conversation(fails=fails))
    if fails:
        with pytest.raises(RuntimeError, match="fell over"):
            adapter.main()
    else:
        adapter.main()
    assert sorted(path.name for path in Path().iterdir()) == ["made.py", "there.py"]
    assert (adapter.SCRATCH / "repository" / "HEAD").is_file()


@pytest.mark.processes
def test_a_repository_of_the_workspace_is_kept(adapter: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace that is a repository already stays one, and aider works in it."""
    subprocess.run(["git", "init", "--quiet"], check=True)
    given = _start(monkeypatch, Conversation())
    adapter.main()
    assert Path(".git/HEAD").is_file()
    assert given[-1] == "known: "


@pytest.mark.processes
@pytest.mark.parametrize("prompt", ["/drop it", "!rm it", "\n /run it"])
def test_a_prompt_is_never_a_command_of_aider(
    adapter: ModuleType, monkeypatch: pytest.MonkeyPatch, prompt: str
) -> None:
    """A prompt that begins like one of aider's own commands goes to the model as it is."""
    adapter.PROMPT.write_text(prompt)
    conversation = Conversation()
    _start(monkeypatch, conversation)
    adapter.main()
    assert (conversation.heard, conversation.preprocessed) == (prompt, False)


ENDINGS = {
    "no answer": (Conversation(partial_response_content=""), "the last call of the model failed or had no answer"),
    "gave up": (Conversation(reflected_message="1 failed\nin 2 s"), "aider gave up; left to be done: 1 failed in 2 s"),
    "too long": (Conversation(num_exhausted_context_windows=1), "did not fit into the model's context window"),
    "did not start": (1, "aider did not start"),
}


@pytest.mark.processes
@pytest.mark.parametrize("ending", ENDINGS)
def test_only_an_answer_that_was_carried_out_is_success(
    adapter: ModuleType, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """Aider itself ends with 0 in each of these cases; the step fails and says why."""
    conversation, words = ENDINGS[ending]
    _start(monkeypatch, conversation)
    assert adapter.main() == 1
    message, code, detail = _result(adapter)
    assert code == 1
    assert words in detail
    assert message == f"aider ended: {detail}"


TESTS = {
    "none": ({}, 0),
    "passing": ({"test_x.py": "def test_x(): pass\n"}, 0),
    "failing": ({"tests/x_test.py": "def test_x(): assert 0\n"}, 1),
    "empty": ({"test_x.py": ""}, 0),
}


@pytest.mark.processes
@pytest.mark.parametrize("name", TESTS)
@pytest.mark.parametrize("framework", ["aider", "ghspec"])
def test_the_workspaces_own_tests_are_run(
    recipe_module: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, framework: str
) -> None:
    """Failing tests are told by the exit code; a workspace without any passes."""
    files, code = TESTS[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.chdir(tmp_path)
    assert recipe_module(framework, "run_tests").main() == code


@pytest.mark.processes
def test_tests_that_hang_are_given_up(
    recipe_module: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Tests have a time of their own, so that a step does not spend all of its on them."""
    run_tests = recipe_module("aider", "run_tests")
    monkeypatch.setattr(run_tests, "TIMEOUT", 1.0)
    (tmp_path / "test_x.py").write_text("import time\ndef test_x(): time.sleep(60)\n")
    monkeypatch.chdir(tmp_path)
    assert run_tests.main() == run_tests.TIMED_OUT
    assert "did not end within 1 s" in capfd.readouterr().out
