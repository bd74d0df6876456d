"""What runs leave is exact and says what it is, and every command finds it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.broken_world import NO_ENGINE
from support.project import Project, copy_project, left_in_engine

pytestmark = pytest.mark.e2e

EXHAUSTED = (
    "step more: the model did not answer: scripted answers exhausted: "
    "call 2 of step more, but images/caller/answers/short.yaml has 1"
)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, dict[str, str]]:
    """One passed run and one whose answers ran out, and what `go` printed of each."""
    project = copy_project("talk", tmp_path_factory.mktemp("results") / "talk")
    passed = project.run("go")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    broken = project.run("go", "short")
    assert broken.returncode == 7, broken.stdout + broken.stderr
    return project, {"talk": passed.stdout + passed.stderr, "short": broken.stdout + broken.stderr}


def _directory(project: Project, scenario: str) -> Path:
    (found,) = project.runs.glob(f"caller/{scenario}-r1-*")
    return found


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _succeed(project: Project, *arguments: str) -> str:
    """Run a command that must succeed, without an engine, and return its stdout."""
    result = project.run(*arguments, env=NO_ENGINE)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_tokens_are_counted_per_step(done: tuple[Project, dict[str, str]]) -> None:
    """Calls and tokens of each step are those of its answers, and the run's are their sums."""
    metrics = _json(_directory(done[0], "talk") / "metrics.json")
    names = ("api_calls", "tokens_in", "tokens_out", "tokens_cached")
    assert [[step[name] for name in names] for step in metrics["per_step"]] == [[1, 11, 3, 0], [2, 50, 12, 8]]
    assert [metrics[name] for name in names] == [3, 61, 15, 8]
    assert metrics["about"]["tokens_in"]["source"] == "gateway"
    assert metrics["cost_usd"] is None
    assert "it has no price" in metrics["about"]["cost_usd"]["reason"]


def test_every_call_has_its_line(done: tuple[Project, dict[str, str]]) -> None:
    """The calls of a run stand in one file, in order, each with step, number, tokens and status; no key, no prompt."""
    lines = (_directory(done[0], "talk") / "llm/calls.jsonl").read_text().splitlines()
    calls = [json.loads(line) for line in lines]
    found = [(one["step"], one["n"], one["tokens_in"], one["tokens_out"], one["status"]) for one in calls]
    assert found == [("greet", 1, 11, 3, 200), ("chat", 1, 20, 5, 200), ("chat", 2, 30, 7, 200)]
    assert {one["model_asked"] for one in calls} == {"whatever"}
    assert {one["model_sent"] for one in calls} == {"scripted"}
    assert not any("question" in line for line in lines)


def test_the_answers_reached_the_workspace(done: tuple[Project, dict[str, str]]) -> None:
    """What the framework wrote is there, the second step's on top of the first's."""
    text = (_directory(done[0], "talk") / "generated_artifacts/answers.txt").read_text()
    assert text == "Good morning.\nOne.\nTwo.\n"


def test_answers_that_run_out_break_the_run(done: tuple[Project, dict[str, str]]) -> None:
    """It is not the framework's failure: the run is broken, the reason names file, step and call, everywhere."""
    project, printed = done
    root = _directory(project, "short")
    record = _json(root / "metadata.json")
    assert (record["outcome"], record["reason"]) == ("broken", EXHAUSTED)
    assert record["finished_at"]
    assert [step["outcome"] for step in record["steps"]] == ["passed", "broken"]
    assert (root / "generated_artifacts/answers.txt").read_text() == "Begun.\nThe only one.\n"
    assert EXHAUSTED in printed["short"]
    assert "Traceback" not in printed["short"]
    last = json.loads((root / "llm/calls.jsonl").read_text().splitlines()[-1])
    assert (last["n"], last["status"], last["fault"], last["tokens_in"]) == (2, 400, "runner", None)
    metrics = _json(root / "metrics.json")
    assert (metrics["steps_passed"], metrics["tokens_in"], metrics["tokens_out"]) == (1, 10, 3)
    assert left_in_engine(project) == []


@pytest.mark.parametrize("scenario", ["talk", "short"])
def test_the_scripted_model_is_named_everywhere(done: tuple[Project, dict[str, str]], scenario: str) -> None:
    """Table, record, README, `show`, `runs` and JSON say that no language model took part."""
    project, printed = done
    root = _directory(project, scenario)
    assert "model: scripted model\n" in printed[scenario]
    assert "scripted model: answers were prepared" in printed[scenario]
    assert _json(root / "metadata.json")["model_label"] == "scripted model"
    assert "SCRIPTED MODEL" in (root / "README.md").read_text()
    assert "model       scripted model\n" in _succeed(project, "show", scenario)
    assert json.loads(_succeed(project, "show", scenario, "--json"))["record"]["model_label"] == "scripted model"
    rows = json.loads(_succeed(project, "runs", "--scenario", scenario, "--json"))
    assert [row["model_label"] for row in rows] == ["scripted model"]
    assert "scripted model: answers were prepared" in _succeed(project, "runs")


def test_show_names_steps_and_reasons(done: tuple[Project, dict[str, str]]) -> None:
    """`show` takes the beginning of an id and prints outcome, reason, steps and where the evidence is."""
    text = _succeed(done[0], "show", "caller/short-r1")
    assert "caller on short, repetition 1: broken\n" in text
    assert EXHAUSTED in text
    assert str(_directory(done[0], "short")) in text
    document = json.loads(_succeed(done[0], "show", "ta", "--json"))
    assert document["metrics"]["tokens_in"] == 61
    assert document["record"]["outcome"] == "passed"


def test_logs_are_exact(done: tuple[Project, dict[str, str]]) -> None:
    """`logs` prints what the steps wrote, one step or all, stdout to stdout and stderr to stderr."""
    project = done[0]
    assert _succeed(project, "logs", "talk@chat") == "heard: One.\nheard: Two.\n"
    assert _succeed(project, "logs", "talk@1") == "heard: Good morning.\n"
    assert _succeed(project, "logs", "talk") == "heard: Good morning.\nheard: One.\nheard: Two.\n"
    both = project.run("logs", "short@more", env=NO_ENGINE)
    assert both.stdout == "heard: The only one.\n"
    assert "HTTP 400" in both.stderr


def test_runs_can_be_filtered(done: tuple[Project, dict[str, str]]) -> None:
    """Each filter leaves the runs it names; one that fits none leaves an empty list, and says what there is."""
    wanted = {
        ("--outcome", "broken"): ["short"],
        ("--outcome", "passed,broken"): ["short", "talk"],
        ("--experiment", "talking"): ["talk"],
    }
    found = {
        arguments: sorted(row["scenario"] for row in json.loads(_succeed(done[0], "runs", *arguments, "--json")))
        for arguments in wanted
    }
    assert found == wanted
    none = done[0].run("runs", "--framework", "other", "--json", env=NO_ENGINE)
    assert (none.returncode, json.loads(none.stdout)) == (3, [])
    assert "none is of framework `other`\n  frameworks there are: caller" in none.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "tlak-r1"), "there is no run tlak-r1"),
        (("logs", "talk@chta"), "choices: greet, chat"),
        (("runs", "--outcome", "pased"), "unknown outcome: pased"),
    ],
    ids=["run", "step", "outcome"],
)
def test_what_is_not_there_is_refused(
    done: tuple[Project, dict[str, str]], arguments: tuple[str, ...], words: str
) -> None:
    """A run, step or outcome that does not exist is bad input, named, with what there is instead."""
    result = done[0].run(*arguments, env=NO_ENGINE)
    assert result.returncode == 2
    assert result.stdout == ""
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_go_prints_one_json_document(done: tuple[Project, dict[str, str]]) -> None:
    """With --json stdout is the document alone, and what is done is not done again."""
    project = done[0]
    before = (_directory(project, "talk") / "metadata.json").stat().st_mtime_ns
    result = project.run("go", "--json")
    document = json.loads(result.stdout)
    assert (result.returncode, document["exit_code"], document["model"]) == (0, 0, "scripted model")
    assert [run["outcome"] for run in document["runs"]] == ["passed"]
    assert (_directory(project, "talk") / "metadata.json").stat().st_mtime_ns == before


def test_clean_without_yes_changes_nothing(done: tuple[Project, dict[str, str]]) -> None:
    """`clean` shows its groups and removes nothing; finished runs are in none of them."""
    project = done[0]
    result = project.run("clean", "--superseded", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["removed"] is False
    names = [item["name"] for group in document["groups"] if group["removable"] for item in group["items"]]
    assert not any(str(path) in name for path in project.directories() for name in names)
    assert len(project.directories()) == 2


def test_the_ledger_can_be_made_anew(done: tuple[Project, dict[str, str]], tmp_path: Path) -> None:
    """`ledger check` agrees, finds a directory that is gone, and `ledger rebuild` finds every run without a ledger."""
    project = done[0]
    copy = tmp_path / "runs"
    shutil.copytree(project.runs, copy)
    output = ("--output", str(copy))
    assert "agree" in _succeed(project, "ledger", "check", *output)
    wanted = json.loads(_succeed(project, "runs", "--json", *output))
    for file in copy.glob(".ledger.sqlite*"):
        file.unlink()
    assert "2 runs" in _succeed(project, "ledger", "rebuild", *output)
    assert json.loads(_succeed(project, "runs", "--json", *output)) == wanted
    gone = next(copy.glob("caller/talk-*"))
    shutil.rmtree(gone)
    checked = project.run("ledger", "check", *output, env=NO_ENGINE)
    assert checked.returncode == 6
    assert gone.name in checked.stdout
    assert "runner ledger rebuild" in checked.stderr
    assert "1 run" in _succeed(project, "ledger", "rebuild", *output)
    assert "agree" in _succeed(project, "ledger", "check", *output)


def test_a_changed_prompt_is_named(talk: Project) -> None:
    """A run whose prompt has changed is done again, under an id of its own, and plan and `go` say which step it was."""
    assert talk.run("go").returncode == 0
    (old,) = talk.directories()
    before = (old / "metadata.json").read_bytes()
    file = talk.root / "config/scenarios/talk.yaml"
    file.write_text(file.read_text().replace("ask 2", "ask 1"))
    assert "prompt of step chat changed" in _succeed(talk, "plan")
    again = talk.run("go")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "1 run to do: prompt of step chat changed" in again.stdout
    assert len(talk.directories()) == 2
    assert (old / "metadata.json").read_bytes() == before
    new = next(path for path in talk.directories() if path != old)
    assert (new / "generated_artifacts/answers.txt").read_text() == "Good morning.\nOne.\n"


def test_fresh_keeps_the_old_run_aside(talk: Project) -> None:
    """`--fresh` repeats what is done, moves the old directory away whole, and only `clean --superseded --yes` removes it."""
    assert talk.run("go").returncode == 0
    (place,) = talk.directories()
    before = (place / "metadata.json").read_bytes()
    again = talk.run("go", "--fresh")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "--fresh" in again.stdout
    (kept,) = talk.runs.glob(".superseded/caller/*")
    assert kept.name == f"{place.name}.1"
    assert (kept / "metadata.json").read_bytes() == before
    assert talk.directories() == [place]
    assert (place / "metadata.json").read_bytes() != before
    shown = talk.run("clean", "--superseded")
    assert str(kept) in shown.stdout
    assert kept.exists()
    assert len(json.loads(_succeed(talk, "runs", "--json"))) == 1
    removed = talk.run("clean", "--superseded", "--yes")
    assert removed.returncode == 0, removed.stdout + removed.stderr
    assert not kept.exists()
    assert talk.directories() == [place]
