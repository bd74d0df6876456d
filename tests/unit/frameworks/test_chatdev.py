"""The recipe of ChatDev: its adapter, with a stand-in for ChatDev, and its scripted answers, with one for its parser."""

from __future__ import annotations

import compileall
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runner.gateway.answers import ScriptedAnswer, load_answers
from runner.images import lockfile, recipe
from runner.spec.load import load_framework, load_scenario
from runner.spec.models import GitSource
from runner.spec.project import Project

CHATDEV = """# Stands for ChatDev: writes a product and the journal as it is told to, and ends as it is told to.
import json, os, pathlib, sys
plan = json.loads(os.environ["PLAN"])
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
house = pathlib.Path(__file__).parent / "WareHouse"
product = house / f"product_runner_{len(list(house.iterdir())):014d}"
product.mkdir()
for name, text in plan["files"].items():
    (product / name).write_text(text)
with open(os.environ["CHATDEV_JOURNAL"], "w") as journal:
    for entry in plan["journal"]:
        journal.write(json.dumps(entry) + "\\n")
previous = sorted(path.name for path in pathlib.Path(options["--path"]).iterdir())
kept = {key: os.environ.get(key) for key in ("PYTHONPATH", "PIP_NO_INDEX", "BASE_URL")}
seen = {"options": options, "task": sys.argv[-1], "previous": previous, "environment": kept, "path": sys.path}
pathlib.Path(os.environ["SEEN"]).write_text(json.dumps(seen))
sys.exit(plan["code"])
"""
BEGUN = {"at": 100.0, "phase": "Coding", "event": "begin"}
ENDED = {"at": 103.5, "phase": "Coding", "event": "end", "files": ["main.py", "manual.md"]}

Load = Callable[[str, str], ModuleType]
Step = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def adapter(recipe_module: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The adapter, all its places below a folder of the test, and a stand-in where ChatDev would be."""
    adapter = recipe_module("chatdev", "adapter")
    for place in ("WORKSPACE", "OUT", "SOURCE", "PACKAGES"):
        folder = tmp_path / place.lower()
        folder.mkdir()
        monkeypatch.setattr(adapter, place, folder)
    monkeypatch.setattr(adapter, "PREVIOUS", tmp_path / "previous")
    monkeypatch.setattr(adapter, "PROMPT", tmp_path / "prompt.txt")
    (tmp_path / "prompt.txt").write_text("--build it\n")
    (adapter.SOURCE / "WareHouse").mkdir()
    (adapter.SOURCE / "run.py").write_text(CHATDEV)
    for name, value in (("RUNNER_MODEL", "openai/gpt-4"), ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    return adapter


@pytest.fixture
def step(adapter: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Step:
    """Carry out one step with a stand-in that does what it is told; return the exit code and what it saw."""

    def carry_out(files: Mapping[str, str], *journal: object, code: int = 0) -> tuple[int, dict[str, Any]]:
        shutil.rmtree(adapter.PREVIOUS, ignore_errors=True)
        monkeypatch.setenv("PLAN", json.dumps({"files": files, "journal": journal, "code": code}))
        monkeypatch.setenv("SEEN", str(tmp_path / "seen.json"))
        return adapter.main(), json.loads((tmp_path / "seen.json").read_text())

    return carry_out


def _result(adapter: ModuleType) -> dict[str, Any]:
    return dict(json.loads((adapter.OUT / "result.json").read_text()))


@pytest.mark.processes
def test_a_product_is_begun_and_then_carried_on(adapter: ModuleType, step: Step) -> None:
    """The first step is Default, the next Incremental, which is given the product's files and no folder of any kind."""
    code, seen = step({"main.py": "1", "manual.md": "m", "app.db": "rows", "meta.txt": ""}, BEGUN, ENDED)
    assert (code, seen["options"]["--config"], seen["options"]["--model"]) == (0, "Default", "GPT_4")
    assert seen["task"] == "--task=--build it"
    assert {path.name for path in adapter.WORKSPACE.iterdir()} == {"main.py", "manual.md"}
    (adapter.WORKSPACE / "docs").mkdir()
    (adapter.WORKSPACE / "docs" / "conf.py").write_text("")
    code, seen = step({"main.py": "2"}, BEGUN, ENDED)
    assert (code, seen["options"]["--config"], seen["previous"]) == (0, "Incremental", ["main.py", "manual.md"])
    assert (adapter.WORKSPACE / "main.py").read_text() == "2"
    assert (adapter.WORKSPACE / "manual.md").read_text() == "m"
    assert _result(adapter)["message"].endswith("1 Python files in folders, which ChatDev cannot read")


@pytest.mark.processes
def test_phases_have_times_and_exit_codes(adapter: ModuleType, step: Step) -> None:
    """A phase has the time between its two entries; one that did not end has the exit code of ChatDev."""
    code, _ = step({"main.py": ""}, BEGUN, ENDED, {"at": 104.0, "phase": "Test", "event": "begin"}, code=3)
    result = _result(adapter)
    assert code == 3
    assert result["message"] == "ChatDev gave up in Test with exit code 3; 1 files written"
    first, second = result["phases"]
    assert first == {"name": "Coding", "started_at": 100.0, "seconds": 3.5, "exit_code": 0, "detail": ""}
    assert (second["name"], second["exit_code"]) == ("Test", 3)
    assert second["seconds"] > 0


@pytest.mark.processes
@pytest.mark.parametrize("index", [False, True])
def test_modules_are_recorded(adapter: ModuleType, step: Step, monkeypatch: pytest.MonkeyPatch, *, index: bool) -> None:
    """What was asked for and what is there is written down; without an index nothing is looked for, and nothing fails."""
    if index:
        monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
        metadata = adapter.PACKAGES / "greetings-1.0.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text("Metadata-Version: 2.1\nName: greetings\nVersion: 1.0\n")
    asked = {"at": 101.0, "module": "greetings", "event": "install", "exit_code": 0 if index else 1}
    code, seen = step({"main.py": ""}, BEGUN, asked, ENDED)
    assert code == 0
    assert seen["environment"]["PIP_NO_INDEX"] == (None if index else "1")
    assert seen["environment"]["PYTHONPATH"] == str(adapter.PACKAGES)
    assert str(adapter.PACKAGES) not in seen["path"]
    modules = json.loads((adapter.OUT / "modules.json").read_text())
    assert modules["asked"] == [{"module": "greetings", "exit_code": asked["exit_code"]}]
    assert (modules["index"], modules["installed"]) == (index, {"greetings": "1.0"} if index else {})
    words = "modules installed: greetings" if index else "modules that could not be had: greetings"
    assert _result(adapter)["message"] == f"every phase has ended; 1 files written; {words}"
    assert (
        _result(adapter)["phases"][0]["detail"] == f"module greetings: {'installed' if index else 'could not be had'}"
    )


@pytest.mark.processes
def test_only_what_chatdev_wrote_is_taken(adapter: ModuleType, step: Step, tmp_path: Path) -> None:
    """A name that leaves the product's folder, one that is not there, and a link put in a file's place are not taken."""
    (tmp_path / "secret.txt").write_text("secret")
    product = adapter.SOURCE / "WareHouse" / "product_runner_00000000000000"
    product.mkdir()
    (product / "link.py").symlink_to(tmp_path / "secret.txt")
    names = ["../../../secret.txt", "absent.py", "link.py"]
    assert adapter.take(product, [{**ENDED, "files": names}]) == []
    assert list(adapter.WORKSPACE.iterdir()) == []
    code, _ = step({}, BEGUN)
    assert (code, _result(adapter)["message"]) == (0, "every phase has ended; no file written")


@pytest.mark.parametrize(
    ("model", "entry"),
    [("gpt-4", "GPT_4"), ("openai/gpt-4-turbo", "GPT_4_TURBO"), ("gpt-4o", "GPT_4O_MINI"), ("x/y", "GPT_4O_MINI")],
)
def test_every_model_has_an_entry(adapter: ModuleType, monkeypatch: pytest.MonkeyPatch, model: str, entry: str) -> None:
    """ChatDev's table is asked for an entry it has, whatever the model is called."""
    monkeypatch.setenv("RUNNER_MODEL", model)
    argv = adapter.command("Default", "x")
    assert argv[argv.index("--model") + 1] == entry


def test_a_line_that_is_being_written_is_left_alone(adapter: ModuleType) -> None:
    """The journal is read while ChatDev writes it: a last line without its end is not read yet."""
    (adapter.OUT / "journal.jsonl").write_text(json.dumps(BEGUN) + '\n{"at": 1')
    assert adapter.read_journal() == [BEGUN]
    assert adapter.phases([BEGUN]) == [
        {"name": "Coding", "started_at": 100.0, "seconds": None, "exit_code": None, "detail": ""}
    ]


def test_recipe(project: Project) -> None:
    """The recipe is valid, pinned to the commit, and its lock has the encodings' wheel as data, not to be installed."""
    framework = load_framework(project, "chatdev").value
    assert isinstance(framework.source, GitSource)
    assert "chatdev" in framework.source.paths
    assert framework.writable == ("/opt/framework/source/WareHouse",)
    lock = lockfile.read(recipe.load(project.images, "chatdev"))
    assert lock.of("git")[0].commit == framework.source.commit
    assert [one.name for one in lock.of("wheel", use="data")] == ["litellm"]
    versions = {one.name: one.version for one in lock.of("wheel", "sdist")}
    assert "litellm" not in versions
    assert versions["httpx"] == "0.27.2"


# ---- scripted answers


def _steps(project: Project, scenario: str) -> dict[str, tuple[ScriptedAnswer, ...]]:
    return load_answers(project.images / "chatdev" / "answers" / f"{scenario}.yaml").steps


def _files(answers: tuple[ScriptedAnswer, ...]) -> list[tuple[str, str]]:
    """Return name and text of every block of code in the answers, as ChatDev's parser takes them."""
    found = []
    for answer in answers:
        for before, text in re.findall(r"(.+?)\n```python\n(.*?)```", answer.content or "", re.DOTALL):
            assert "CODE" not in text
            name = re.findall(r"\w+\.\w+", before)[-1].lower()
            assert name == "main.py" or "__main__" not in text
            found.append((name, "\n".join(line for line in text.split("\n") if line.strip())))
    return found


@pytest.mark.parametrize("scenario", ["crud", "hello"])
def test_answers_cover_the_scenario(project: Project, scenario: str) -> None:
    """Every step has answers, each says what it expects, and a first step has more phases than a later one."""
    steps = _steps(project, scenario)
    assert list(steps) == [step.id for step in load_scenario(project, scenario).value.steps]
    assert all(answer.expect and not answer.tool_calls for answers in steps.values() for answer in answers)
    counts = [len(answers) for answers in steps.values()]
    assert counts == ([16] + 5 * [11] if scenario == "crud" else [15])


def test_every_step_leaves_an_application_that_compiles(project: Project, tmp_path: Path) -> None:
    """What ChatDev would write of the answers compiles after each step, and grows by the step's migration."""
    for number, (step, answers) in enumerate(_steps(project, "crud").items(), start=1):
        for name, text in _files(answers):
            (tmp_path / name).write_text(text)
        assert compileall.compile_dir(tmp_path, quiet=1, force=True), step
        assert (tmp_path / "database.py").read_text().count('    """,\n') == number
    assert "pass" not in {line.strip() for path in tmp_path.glob("*.py") for line in path.read_text().splitlines()}


@pytest.mark.processes
def test_hello_greets(project: Project, tmp_path: Path) -> None:
    """The small scenario's program does what its prompt asks for."""
    for name, text in _files(_steps(project, "hello")["hello"]):
        (tmp_path / name).write_text(text)
    done = subprocess.run(["python3", "hello.py", " Ada "], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Hello, Ada!\n")
