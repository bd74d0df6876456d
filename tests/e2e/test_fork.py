"""Going on from a step of a run, as a new run."""

from __future__ import annotations

import json
from typing import Any

from support.project import Project, left_in_engine

FAN = """
name: fan
steps:
  - {id: start, prompt: write}
  - id: left
    depends_on: [start]
    script: echo left > left.txt; printf '["x", "y"]' > /out/names.json
    outputs: {names: {file: names.json, type: list}}
  - {id: right, depends_on: [start], script: echo right > right.txt}
  - id: join
    depends_on: [left, right]
    inputs: {names: {step: left, output: names}}
    when: steps.left.outcome == 'passed' and inputs.names[0] == 'x'
    script: ls; cat /in/inputs/names
    expect_changes: false
"""


def forks(project: Project) -> list[dict[str, Any]]:
    """Return the records of runs that go on from another."""
    records = [json.loads((path / "metadata.json").read_text()) for path in project.directories()]
    return [one for one in records if one["run"]["parent"] is not None]


def test_a_step_is_mended_and_the_run_goes_on(chain: Project) -> None:
    """A fork finds what the step left, does the rest with another prompt, and says in its record whose it is."""
    done = chain.run("fork", "chain-r1@second", "--prompt", "third=write", "--note", "mended")
    assert done.returncode == 0, done.stderr
    (fork,) = forks(chain)
    place = chain.runs / "probe" / fork["run"]["id"]
    assert (place / "generated_artifacts" / "notes.txt").read_text() == "one more line\n" * 4
    assert [one["id"] for one in fork["steps"]] == ["third", "fourth"]
    assert {key: fork["run"]["parent"][key] for key in ("step", "index", "note")} == {
        "step": "second",
        "index": 2,
        "note": "mended",
    }
    shown = chain.run("show", fork["run"]["id"]).stdout
    assert "forked from" in shown
    assert "@second: mended" in shown
    assert chain.run("verify", fork["run"]["id"]).returncode == 0
    compared = chain.run("diff", f"{fork['run']['id']}@0", f"{fork['run']['id']}@third").stdout
    assert compared.count("\n+one more line") == 1
    assert left_in_engine(chain) == []


def test_a_fork_is_done_once(chain: Project) -> None:
    """The same fork again is skipped as done, whatever its note; `go` neither repeats nor loses it."""
    parent = chain.records()["chain"]["run"]["id"]
    first = chain.run("fork", f"{parent}@first", "--prompt", "third=write")
    again = chain.run("fork", f"{parent}@first", "--prompt", "third=write", "--note", "again")
    assert (first.returncode, again.returncode) == (0, 0)
    assert "0 to do, 1 done" in again.stdout
    (fork,) = forks(chain)
    assert "0 to do" in chain.run("go", "--scenario", "chain", "--repetitions", "1").stdout
    assert forks(chain) == [fork]


def test_go_carries_an_unfinished_fork_on(chain: Project) -> None:
    """A fork that was cut off begins again with `go`, from the same workspace, under the same name."""
    parent = chain.records()["chain"]["run"]["id"]
    chain.run("fork", f"{parent}@second", "--prompt", "third=write")
    (fork,) = forks(chain)
    place = chain.runs / "probe" / fork["run"]["id"]
    (place / "metadata.json").write_text(json.dumps(fork | {"outcome": "broken", "reason": "interrupted: by the test"}))
    assert chain.run("ledger", "rebuild").returncode == 0
    done = chain.run("go", "--scenario", "chain", "--repetitions", "1")
    assert "1 to do" in done.stdout
    (again,) = forks(chain)
    assert (again["outcome"], again["run"]["id"]) == ("passed", fork["run"]["id"])
    assert again["finished_at"] != fork["finished_at"]
    assert (place / "generated_artifacts" / "notes.txt").read_text() == "one more line\n" * 4


def test_forks_from_other_places(chain: Project) -> None:
    """A fork's own beginning, another scenario and an archive can be gone on from as well."""
    parent = chain.records()["chain"]["run"]["id"]
    assert chain.run("fork", f"{parent}@second", "--scenario", "write").returncode == 0
    (fork,) = forks(chain)
    place = chain.runs / "probe" / fork["run"]["id"]
    assert fork["run"]["scenario"] == "write"
    assert (place / "generated_artifacts" / "notes.txt").read_text() == "one more line\n" * 3
    assert chain.run("fork", f"{fork['run']['id']}@origin", "--seed", "7").returncode == 0
    archive = chain.runs / "probe" / parent / "run.tar.zst"
    assert chain.run("fork", f"{archive}@first", "--prompt", "third=write").returncode == 0
    assert sorted(one["run"]["parent"]["step"] for one in forks(chain)) == ["first", "origin", "second"]


def test_forks_that_make_no_sense(chain: Project) -> None:
    """What cannot be gone on from is refused with what there is: no step, none left, a prompt for nobody."""
    for argv, words in (
        (("chain-r1@ninth",), "unknown step"),
        (("chain-r1@second", "--prompt", "first=write"), "no step first with a prompt"),
        (("chain-r1@second", "--prompt", "third"), "is no prompt of a step"),
        (("chain-r1@second", "--framework", "nobody"), "unknown framework"),
    ):
        refused = chain.run("fork", *argv)
        assert refused.returncode == 2, argv
        assert words in refused.stderr


def test_a_branch_is_gone_on_from(probe: Project) -> None:
    """A fork of a graph does what is neither the step nor before it, with the values and outcomes of those that are."""
    (probe.root / "config" / "scenarios" / "fan.yaml").write_text(FAN)
    experiment = probe.root / "config" / "experiments" / "default.yaml"
    experiment.write_text(experiment.read_text().replace("[write,", "[fan, write,"))
    assert probe.run("go", "--scenario", "fan", "--repetitions", "1").returncode == 0
    parent = probe.records()["fan"]["run"]["id"]
    done = probe.run("fork", f"{parent}@left")
    assert done.returncode == 0, done.stderr
    (fork,) = forks(probe)
    place = probe.runs / "probe" / fork["run"]["id"]
    assert [(one["id"], one["outcome"]) for one in fork["steps"]] == [("right", "passed"), ("join", "passed")]
    assert (place / "steps" / "step_002" / "stdout.log").read_text().split() == [
        "left.txt",
        "notes.txt",
        "right.txt",
        '["x",',
        '"y"]',
    ]
