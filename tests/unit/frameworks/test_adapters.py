"""The programs that recipes carry into their images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Load = Callable[[str, str], ModuleType]

FAKE = """#!/bin/sh
# Stands for the agent's command line: writes the trajectory it is told to, and exits as it is told to.
printf '%s\\n' "$@" > "$ARGUMENTS_FILE"
while [ "$1" != --output ]; do shift; done
if [ -n "$TRAJECTORY" ]; then printf '%s' "$TRAJECTORY" > "$2"; fi
exit "$CODE"
"""


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Put a `mini` on the PATH that ends with a given trajectory and exit code."""
    program = tmp_path / "bin" / "mini"
    program.parent.mkdir()
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setenv("RUNNER_MODEL", "some/model")
    monkeypatch.setenv("ARGUMENTS_FILE", str(tmp_path / "arguments"))

    def ends(trajectory: str, code: int) -> None:
        monkeypatch.setenv("TRAJECTORY", trajectory)
        monkeypatch.setenv("CODE", str(code))

    return ends


def _trajectory(status: str, words: str) -> str:
    return json.dumps({"info": {"exit_status": status}, "messages": [{"role": "exit", "content": words}]})


ENDINGS = {
    "finished": (_trajectory("Submitted", ""), 0, 0, "Submitted"),
    "finished with words": (_trajectory("Submitted", "all done\n"), 0, 0, "Submitted: all done"),
    "gave up": (_trajectory("LimitsExceeded", "LimitsExceeded"), 0, 1, "LimitsExceeded"),
    "refused": (_trajectory("BadRequestError", "no answers\nleft"), 1, 1, "BadRequestError: no answers left"),
    "killed": (_trajectory("", "reading"), 137, 137, "Unfinished: reading"),
    "did not start": ("", 2, 2, "NoTrajectory: the agent ended before its first model call"),
    "silent": ("", 0, 1, "NoTrajectory: the agent ended before its first model call"),
    "cut off": ("{", 0, 1, "BadTrajectory: the agent's trajectory is no JSON"),
}


@pytest.mark.processes
@pytest.mark.parametrize("ending", ENDINGS)
def test_only_a_finished_agent_succeeds(
    recipe_module: Load, agent: Callable[[str, int], None], tmp_path: Path, ending: str
) -> None:
    """The agent's own word decides: an exit code of 0 without it is a failure, and the reason is told."""
    trajectory, code, expected_code, detail = ENDINGS[ending]
    agent(trajectory, code)
    phase = recipe_module("mini-swe-agent", "mini_agent").run_agent("work", "do", seed=7, folder=tmp_path / "out")
    assert (phase.name, phase.exit_code, phase.detail) == ("work", expected_code, detail)
    assert phase.seconds is not None
    assert phase.started_at is not None


@pytest.mark.processes
def test_agent_gets_task_model_and_seed(recipe_module: Load, agent: Callable[[str, int], None], tmp_path: Path) -> None:
    """Task of any length and content goes by file; model and seed by option; nobody is asked anything."""
    agent(_trajectory("Submitted", ""), 0)
    module = recipe_module("ghspec", "mini_agent")
    task = "quote ' \" {{ brace }} \u00e9 \U0001f600 \x85\n" * 10_000
    module.run_agent("work", task, seed=7, folder=tmp_path / "out")
    arguments = (tmp_path / "arguments").read_text().splitlines()
    assert {"--yolo", "--exit-immediately", "openai/some/model", "model.model_kwargs.seed=7"} <= set(arguments)
    content = module.yaml.safe_load((tmp_path / "out" / "work.task.yaml").read_text(encoding="utf-8"))
    assert content == {"run": {"task": task}}


def test_result_is_replaced_whole(recipe_module: Load, tmp_path: Path) -> None:
    """A later report replaces the earlier one, and no draft stays behind."""
    module = recipe_module("mini-swe-agent", "mini_agent")
    file = tmp_path / "result.json"
    module.write_result(file, "working", [])
    module.write_result(file, "done", [module.Phase(name="work", seconds=1.5, exit_code=0, detail="Submitted")])
    phase = {"name": "work", "seconds": 1.5, "exit_code": 0, "detail": "Submitted", "started_at": None}
    assert json.loads(file.read_text()) == {"version": 1, "message": "done", "phases": [phase]}
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_command_becomes_a_task(recipe_module: Load) -> None:
    """The front matter goes, the prompt stands where the arguments belong, and the agent hears that it is alone."""
    adapter = recipe_module("ghspec", "adapter")
    command = "---\ndescription: x\n---\nDo this:\n\n$ARGUMENTS\n\n---\nrule\n"
    task = adapter.as_task(command, "  build $it\n")
    assert task.startswith("Do this:\n\nbuild $it\n\n---\nrule\n")
    assert "Nobody can answer" in task


@pytest.fixture
def adapter(recipe_module: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The adapter of ghspec, in a workspace that has Spec Kit's commands."""
    adapter = recipe_module("ghspec", "adapter")
    monkeypatch.chdir(tmp_path)
    for name, value in (("STEP", "step.json"), ("PROMPT", "prompt.txt"), ("OUT", "out")):
        monkeypatch.setattr(adapter, name, tmp_path / value)
    (tmp_path / "step.json").write_text('{"seed": 7}')
    (tmp_path / "prompt.txt").write_text("build it")
    (tmp_path / "out").mkdir()
    for phase in adapter.PHASES:
        file = tmp_path / adapter.COMMANDS / f"speckit.{phase}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("$ARGUMENTS")
    return adapter


@pytest.mark.processes
def test_first_failing_phase_ends_a_step(
    adapter: ModuleType, agent: Callable[[str, int], None], tmp_path: Path
) -> None:
    """Phases after a failed one do not start; the result has those that ran, and says which one failed."""
    agent(_trajectory("LimitsExceeded", "LimitsExceeded"), 0)
    assert adapter.main() == 1
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["message"] == "phase specify failed: LimitsExceeded"
    assert [phase["name"] for phase in result["phases"]] == ["specify"]


@pytest.mark.processes
@pytest.mark.parametrize("ending", ["Submitted", "LimitsExceeded"])
def test_pointer_to_the_feature_belongs_to_one_step(
    adapter: ModuleType, agent: Callable[[str, int], None], tmp_path: Path, ending: str
) -> None:
    """What an earlier step left is gone before the first phase, and what this one wrote when it has ended."""
    pointer = tmp_path / ".specify" / "feature.json"
    agent(_trajectory(ending, ""), 0)
    # The agent's stand-in notes what it found, and then does what Spec Kit's script for new features does.
    program = tmp_path / "bin" / "mini"
    note = f"[ -e {pointer} ] && echo there >> {tmp_path}/seen || echo gone >> {tmp_path}/seen; echo '{{}}' > {pointer}"
    program.write_text(FAKE.replace("\n", f"\n{note}\n", 1))
    pointer.write_text('{"feature_directory": "specs/001-earlier"}')
    adapter.main()
    assert (tmp_path / "seen").read_text().split()[:2] == ["gone", "there"][: 2 if ending == "Submitted" else 1]
    assert not pointer.exists()


def test_two_installations_are_the_same_bytes(
    recipe_module: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the time of day nor the order of a directory shows in Spec Kit's registers; all else in them stays."""
    adapter = recipe_module("ghspec", "adapter")
    made = []
    for time, names in (("2030-01-02T03:04:05.678901+00:00", "abc"), ("2031-01-02T03:04:05.678901+00:00", "cab")):
        folder = tmp_path / time[:4] / ".specify"
        registers = [folder / "integrations" / "generic.manifest.json", folder / "workflows" / "workflow-registry.json"]
        for file in registers:
            file.parent.mkdir(parents=True)
            entry = {"installed_at": time, "updated_at": time, "version": "1"}
            file.write_text(json.dumps({"installed_at": time, "files": dict.fromkeys(names, "0" * 64), "flow": entry}))
        monkeypatch.chdir(folder.parent)
        adapter.make_repeatable()
        made.append([file.read_bytes() for file in registers])
    assert made[0] == made[1]
    content = json.loads(made[0][0])
    assert content["files"] == dict.fromkeys("abc", "0" * 64)
    assert content["flow"]["version"] == "1"
    assert content["installed_at"] == content["flow"]["updated_at"] == adapter.NO_TIME


def test_a_workspace_without_commands_fails_by_name(
    recipe_module: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that is not in the workspace is a failed phase that names the file."""
    adapter = recipe_module("ghspec", "adapter")
    monkeypatch.chdir(tmp_path)
    phase = adapter.carry_out("plan", "build it", 7)
    assert (phase.exit_code, phase.detail) == (
        1,
        "no command .specify/commands/speckit.plan.md: No such file or directory",
    )
