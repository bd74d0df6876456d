"""Commands that need a project and no engine."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from runner.cli.main import main
from runner.engine.owner import current
from runner.evidence.records import RunRecord
from runner.ledger.store import ledger_path, open_ledger


def run(folder: Path, *argv: str, **environment: str) -> tuple[int, str, str]:
    """Run a command line in a project and return exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    environment = {"RUNNER_CACHE": str(folder / "cache"), **environment}
    code = main(["-C", str(folder), *argv], environment=environment, out=out, err=err)
    return code, out.getvalue(), err.getvalue()


def test_plan_lists_runs_in_order(project: Path) -> None:
    """A plan shows each run and what would happen to it, alternating between frameworks."""
    code, out, _ = run(project, "plan")
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()[2:6]] == ["demo", "other", "demo", "other"]
    assert out.splitlines()[-1] == "4 runs: 4 to do, 0 done"


def test_dry_run_is_plan(project: Path) -> None:
    """`go --dry-run` prints what `plan` prints, as text and as JSON, and starts nothing."""
    assert run(project, "go", "--dry-run") == run(project, "plan")
    assert run(project, "go", "--dry-run", "--json")[1] == run(project, "plan", "--json")[1]
    assert not (project / "runs").exists()
    assert not (project / ".runner").exists()


@pytest.mark.parametrize("command", [("plan",), ("go", "--dry-run")], ids=lambda words: words[0])
def test_a_plan_reads_the_rules_of_the_machine(project: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    """A plan refuses a site file as `go` would: one with a mistake, with its line, and one that is not there."""
    site = tmp_path / "site.yaml"
    site.write_text("memory: 1GiB\ncpus: lots\n", encoding="utf-8")
    code, _, err = run(project, *command, RUNNER_SITE=str(site))
    assert (code, f"{site}:2: cpus: `lots` is not a number" in err) == (2, True)
    code, _, err = run(project, *command, RUNNER_SITE=str(tmp_path / "none.yaml"))
    assert (code, "none.yaml: cannot be read" in err) == (2, True)


def test_a_plan_reads_the_prices(project: Path) -> None:
    """A plan of steps that ask a real model refuses a table of prices as `go` would, and needs no key for it."""
    recipe = project / "images" / "demo" / "framework.yaml"
    recipe.write_text(f"{recipe.read_text(encoding='utf-8')}network: gateway\n", encoding="utf-8")
    command = ("plan", "--framework", "demo", "--model", "openai/gpt-4o-mini")
    assert run(project, *command)[0] == 0
    (project / "config" / "prices.yaml").write_text("version: one\ncurrency: USD\nvendors: []\n", encoding="utf-8")
    code, _, err = run(project, *command)
    assert (code, "prices.yaml:1: version: `one` is not a whole number" in err) == (2, True)


def test_a_plan_says_that_nothing_can_be_kept(project: Path, tmp_path: Path) -> None:
    """A file in the place of the output folder is told by a plan already."""
    (tmp_path / "file").touch()
    code, _, err = run(project, "plan", "--output", str(tmp_path / "file"))
    assert code == 0
    assert f"warning: `runner go` cannot keep anything there: {tmp_path / 'file'} is a file, and no folder" in err
    assert run(project, "plan")[2].count("cannot keep anything") == 0


def test_plan_json_is_pure_and_narrowed_by_flags(project: Path) -> None:
    """With --json stdout is one document; flags and environment narrow what is in it."""
    code, out, _ = run(project, "plan", "--json", "--framework", "other", RUNNER_REPETITIONS="5")
    shown = json.loads(out)
    assert (code, shown["to_do"], shown["done"], shown["model"]) == (0, 5, 0, None)
    assert {one["framework"] for one in shown["runs"]} == {"other"}
    assert [one["repetition"] for one in shown["runs"]] == [1, 2, 3, 4, 5]


def test_a_long_plan_is_summed_up(project: Path) -> None:
    """A plan of many runs has one row per framework and scenario."""
    _, out, _ = run(project, "plan", "--repetitions", "1000")
    assert "other      hello     1,000" in out
    assert "2,000 runs: 2,000 to do, 0 done" in out
    assert len(out.splitlines()) < 10


def test_explain_names_sources(project: Path) -> None:
    """--explain says for each value whether a file, the environment, a flag or a default set it."""
    _, out, _ = run(project, "plan", "--explain", "--seed", "9", RUNNER_JOBS="3")
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert rows["seed"].split()[1:] == ["9", "flag", "--seed"]
    assert rows["jobs"].split()[1:] == ["3", "environment", "RUNNER_JOBS"]
    assert rows["archive"].endswith("default")
    assert rows["repetitions"].endswith("config/experiments/default.yaml:4")
    whole = json.loads(run(project, "plan", "--explain", "--json")[1])
    assert {"key": "steps.greet.prompt", "value": '"Say hello."', "source": "config/scenarios/hello.yaml:4"} in whole[
        "scenario hello"
    ]


def test_outside_a_project(tmp_path: Path) -> None:
    """A command that needs a project says what one is."""
    code, _, err = run(tmp_path, "plan")
    assert (code, "is in no project" in err, "runner -C DIR" in err) == (2, True, True)


def test_new_writes_an_experiment_that_can_be_planned(project: Path) -> None:
    """`new` writes a file that `plan` accepts as it is, and never over another."""
    path = project / "config" / "experiments" / "pilot.yaml"
    assert run(project, "new", "pilot", "--frameworks", "other", "--repetitions", "3")[0] == 0
    assert json.loads(run(project, "plan", "pilot", "--json")[1])["to_do"] == 3
    before = path.read_text(encoding="utf-8")
    code, _, err = run(project, "new", "pilot")
    assert (code, "exists already" in err) == (2, True)
    assert path.read_text(encoding="utf-8") == before


def test_new_takes_over_what_another_compares(project: Path) -> None:
    """--from copies frameworks, scenarios and repetitions; flags replace them."""
    run(project, "new", "first", "--frameworks", "other", "--repetitions", "7")
    assert run(project, "new", "second", "--from", "first", "--repetitions", "2")[0] == 0
    assert json.loads(run(project, "plan", "second", "--json")[1])["to_do"] == 2


def test_new_takes_a_scenario_and_its_name(project: Path) -> None:
    """--from may name a scenario: without a name the experiment is called like it, with the frameworks that are asked for."""
    assert run(project, "new", "--from", "hello", "--frameworks", "demo", "--repetitions", "10")[0] == 0
    plan = json.loads(run(project, "plan", "hello", "--json")[1])
    assert plan["to_do"] == 10
    assert {(one["framework"], one["scenario"]) for one in plan["runs"]} == {("demo", "hello")}
    code, _, err = run(project, "new", "--from", "default")
    assert (code, "exists already" in err) == (2, True)


def test_new_leaves_out_what_has_no_answers(project: Path) -> None:
    """A pair that nobody prepared answers for is excluded and named, so that the plan is one that can be carried out."""
    recipe = project / "images" / "demo" / "framework.yaml"
    recipe.write_text(f"{recipe.read_text(encoding='utf-8')}network: gateway\n", encoding="utf-8")
    code, out, _ = run(project, "new", "pilot")
    assert code == 0
    assert "left out, for it has no prepared answers: demo on hello" in out
    plan = json.loads(run(project, "plan", "pilot", "--json")[1])
    assert {one["framework"] for one in plan["runs"]} == {"other"}


@pytest.mark.parametrize(
    "argv",
    [
        ("new", "No Name"),
        ("new", "x", "--frameworks", "dem"),
        ("new", "x", "--frameworks", ","),
        ("new", "x", "--from", "y"),
        ("new",),
    ],
)
def test_new_refuses_what_cannot_run(project: Path, argv: tuple[str, ...]) -> None:
    """A bad name, an unknown framework or origin is refused before anything is written."""
    code, _, err = run(project, *argv)
    assert (code, err.startswith("error: ")) == (2, True)
    assert [one.name for one in (project / "config" / "experiments").iterdir()] == ["default.yaml"]


def test_what_judges_is_no_framework_to_choose(project: Path) -> None:
    """An unknown framework is answered with the frameworks there are, and not with the recipe of what judges."""
    checker = project / "images" / "checker" / "framework.yaml"
    checker.parent.mkdir()
    text = (project / "images" / "demo" / "framework.yaml").read_text(encoding="utf-8")
    checker.write_text(text.replace("name: demo", "name: checker\nrole: checker"), encoding="utf-8")
    assert "choose from: demo, other\n" in run(project, "new", "x", "--frameworks", "zzz")[2]


def records(output: Path) -> list[RunRecord]:
    """Return the records below a folder, by run id; each gets a digest of its own, which the fixture's lack."""
    found = []
    for number, path in enumerate(sorted(output.glob("*/*/metadata.json"))):
        record = RunRecord.model_validate_json(path.read_bytes())
        found.append(record.model_copy(update={"run": record.run.model_copy(update={"digest": f"{number:064x}"})}))
        path.write_text(found[-1].model_dump_json(), encoding="utf-8")
    return found


def fill_ledger(output: Path) -> None:
    """Enter the runs of a folder into its ledger; the last is under way."""
    with open_ledger(ledger_path(output)) as ledger:
        for record in records(output):
            ledger.register([record.run], output)
            lease = ledger.lease(record.run, current())
            assert lease is not None
            if record.outcome is not None:
                ledger.finish(lease, record, {"tokens_in": 1234, "cost_usd": None, "steps_passed": 1, "steps_total": 3})


def test_runs_lists_and_filters(project: Path, output: Path) -> None:
    """`runs` shows outcome, model and reason of each run, and keeps those that match every filter."""
    fill_ledger(output)
    code, out, _ = run(project, "runs", "--output", str(output))
    assert code == 0
    assert [line.split()[2] for line in out.splitlines()[2:5]] == ["failed", "passed", "started"]
    assert "scripted model" in out
    assert "3 runs: 1 failed, 1 passed, 1 started" in out
    shown = json.loads(run(project, "runs", "--output", str(output), "--json", "--outcome", "failed,broken")[1])
    assert [(one["run_id"], one["metrics"]["cost_usd"]) for one in shown] == [("crud-r1-0123456789", None)]


def test_runs_of_an_unknown_outcome(project: Path) -> None:
    """An outcome that no run can have is a mistake, not an empty list."""
    code, _, err = run(project, "runs", "--outcome", "pased")
    assert (code, "did you mean passed?" in err) == (2, True)


def test_runs_without_a_ledger(project: Path) -> None:
    """A project in which nothing ran yet has no runs, and looking makes no folder."""
    assert run(project, "runs")[:2] == (0, f"no runs in {project}/runs\n")
    assert json.loads(run(project, "runs", "--json")[1]) == []
    assert not (project / "runs").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("--framework", "ghspek"), "none is of framework `ghspek`\n  frameworks there are: ghspec\n"),
        (("--outcome", "broken", "--scenario", "crud"), "none is of outcome `broken`\n  outcomes there are: failed, "),
        (("--waiting",), "none waits for approval\n  -> "),
        (("--experiment", "a,b"), "none is of experiment `a` or `b`"),
    ],
)
def test_filters_that_no_run_fits(project: Path, output: Path, argv: tuple[str, ...], words: str) -> None:
    """Filters without a hit end with a code of their own, and what fits nothing is told from what there is."""
    fill_ledger(output)
    code, out, err = run(project, "runs", *argv, "--output", str(output))
    assert (code, out) == (3, "")
    assert f"of 3 runs in {output}, {words}" in err
    code, out, _ = run(project, "runs", *argv, "--output", str(output), "--json")
    assert (code, json.loads(out)) == (3, [])


def test_folders_that_are_not_there(project: Path) -> None:
    """A mistyped folder is named; the project around it is not taken in its place."""
    code, _, err = run(project, "runs", "--output", str(project / "absent"))
    assert (code, f"there is no folder {project / 'absent'}" in err) == (2, True)
    for command in (("plan",), ("import", "some.bundle")):
        code, _, err = run(project / "absent", *command)
        assert (code, f"{project / 'absent'}: there is no such folder" in err) == (2, True), command


def test_ledger_check_and_rebuild(project: Path, output: Path) -> None:
    """`check` names what differs and ends with 6; after `rebuild` both agree."""
    records(output)
    with open_ledger(ledger_path(output)):
        pass
    code, out, _ = run(project, "ledger", "check", "--output", str(output))
    assert (code, out.count("not in the ledger")) == (6, 3)
    code, out, _ = run(project, "ledger", "rebuild", "--output", str(output))
    assert (code, out) == (0, "the ledger holds 3 runs\n")
    assert run(project, "runs", "--output", str(output), "--outcome", "passed")[1].count("crud-r2") == 1
