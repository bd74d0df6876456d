"""Finished runs go by rule; those that are marked, under way or another user's stay."""

from __future__ import annotations

import fcntl
import io
import json
import os
from pathlib import Path

import pytest

from runner.cli import leftovers
from runner.cli.groups import Group
from runner.cli.leftovers import Wanted
from runner.cli.main import main
from runner.cli.old_runs import RunsWanted, attempts_group, images_of_kept_runs, runs_group, unfinished
from runner.errors import ConfigError
from runner.evidence.archive import write_archive
from runner.evidence.atomic import write_json
from runner.evidence.kept import keep
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord
from runner.evidence.verify import verify_archive
from runner.ledger.rebuild import check, rebuild
from runner.ledger.removal import REMOVED
from runner.ledger.retention import Rule

ALL = Rule(older_than=0)


@pytest.fixture
def runs(output: Path) -> Path:
    """Return a folder of three runs that finished on three days, and one under way, with its ledger."""
    template = RunRecord.model_validate_json((output / "ghspec/crud-r1-0123456789/metadata.json").read_bytes())
    for number in (1, 2, 3, 4):
        done = number < 4
        run = template.run.model_copy(update={"id": f"crud-{number}", "digest": f"{number}" * 64, "repetition": number})
        record = template.model_copy(
            update={
                "run": run,
                "outcome": ("passed" if number % 2 else "failed") if done else None,
                "finished_at": f"2026-01-0{number}T00:00:00.000Z" if done else None,
            }
        )
        layout = RunLayout(output / "lab" / "ghspec" / run.id)
        write_json(layout.metadata, record)
        layout.workspace.mkdir()
        (layout.workspace / "product").write_bytes(b"x" * 10_000 * number)
    rebuild(output / "lab")
    return output / "lab"


def shown(runs: Path, wanted: RunsWanted) -> list[str]:
    """Return the ids of the runs that could go."""
    return [name.rpartition("/")[2] for name, _ in runs_group(runs, wanted).items]


def test_rules_and_filters(runs: Path) -> None:
    """A rule chooses among the finished runs that the filters leave, and tells how old and how large each is."""
    group = runs_group(runs, RunsWanted(rule=ALL))
    assert [name for name, _ in group.items] == ["ghspec/crud-1", "ghspec/crud-2", "ghspec/crud-3"]
    assert group.items[1][1].startswith("failed, finished 2026-01-02 00:00, ")
    assert group.bytes is not None
    assert group.bytes > 60_000
    assert shown(runs, RunsWanted(rule=Rule(keep_last=1))) == ["crud-1", "crud-2"]
    assert shown(runs, RunsWanted(rule=ALL, filters={"outcomes": ("failed",)})) == ["crud-2"]
    assert shown(runs, RunsWanted(rule=Rule(larger_than=45_000))) == ["crud-3"]
    assert shown(runs, RunsWanted(rule=ALL, filters={"frameworks": ("other",)})) == []


def test_runs_that_are_to_stay(runs: Path) -> None:
    """A mark, a name on the command line, or another owner of the directory: each keeps a run."""
    keep(runs, "ghspec/crud-1", "figure 3")
    assert shown(runs, RunsWanted(rule=ALL, spare=("crud-2",))) == ["crud-3"]
    with pytest.raises(ConfigError, match="there is no run crud-9"):
        runs_group(runs, RunsWanted(rule=ALL, spare=("crud-9",)))


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a directory to another user")
def test_another_users_run_stays(runs: Path) -> None:
    """In a folder that several people write to, everybody cleans up after themselves."""
    os.chown(runs / "ghspec/crud-1", 4711, 4711)
    assert shown(runs, RunsWanted(rule=ALL)) == ["crud-2", "crud-3"]


def test_removed_runs_are_archived_first(runs: Path, tmp_path: Path) -> None:
    """Their archives are whole elsewhere, their directories and rows are gone, and everything else agrees."""
    group = runs_group(runs, RunsWanted(rule=Rule(keep_last=1), archive_to=str(tmp_path / "depot")))
    assert group.remove() == []
    assert sorted(path.name for path in (runs / "ghspec").iterdir()) == ["crud-3", "crud-4"]
    for number in (1, 2):
        assert verify_archive(tmp_path / "depot" / "ghspec" / f"crud-{number}.tar.zst") == []
    assert check(runs) == ()
    assert shown(runs, RunsWanted(rule=ALL)) == ["crud-3"]


def test_a_run_that_cannot_be_archived_stays(runs: Path, tmp_path: Path) -> None:
    """What could not be taken elsewhere is not removed here, and is named."""
    (tmp_path / "depot").write_text("a file")
    problems = runs_group(runs, RunsWanted(rule=Rule(keep_last=2), archive_to=str(tmp_path / "depot"))).remove()
    assert len(problems) == 1
    assert problems[0].startswith("ghspec/crud-1: cannot ")
    assert shown(runs, RunsWanted(rule=ALL)) == ["crud-1", "crud-2", "crud-3"]


def test_nothing_goes_while_a_runner_is_at_work(runs: Path) -> None:
    """A folder that another process holds is left as it is, with a word about who holds it."""
    with (runs / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        problems = runs_group(runs, RunsWanted(rule=ALL)).remove()
    assert len(problems) == 1
    assert "is at work in" in problems[0]
    assert shown(runs, RunsWanted(rule=ALL)) == ["crud-1", "crud-2", "crud-3"]


def test_what_changed_since_it_was_shown_stays(runs: Path) -> None:
    """A run that was done again between the list and the removal is another one."""
    group = runs_group(runs, RunsWanted(rule=Rule(keep_last=2)))
    layout = RunLayout(runs / "ghspec/crud-1")
    record = RunRecord.model_validate_json(layout.metadata.read_bytes())
    write_json(layout.metadata, record.model_copy(update={"finished_at": "2026-02-01T00:00:00.000Z"}))
    rebuild(runs)
    assert group.remove() == []
    assert layout.root.is_dir()


def test_a_removal_that_was_cut_off_is_shown_and_finished(runs: Path) -> None:
    """What a crash left of a removal is a group of its own, and goes for good."""
    assert unfinished(runs) is None
    (runs / REMOVED / "ghspec").mkdir(parents=True)
    (runs / "ghspec/crud-1").rename(runs / REMOVED / "ghspec/crud-1")
    group = unfinished(runs)
    assert group is not None
    assert group.remove() == []
    assert unfinished(runs) is None
    assert check(runs) == ()


def test_earlier_attempts_go_where_the_archive_has_them(runs: Path) -> None:
    """A run whose archive is whole loses them, one without an archive or with a damaged one keeps them."""
    for number in (1, 2, 3):
        attempts = RunLayout(runs / f"ghspec/crud-{number}").step(1).attempt(1)
        attempts.root.mkdir(parents=True)
        attempts.log("stdout").write_text("first try")
    for number in (1, 2):
        write_archive(RunLayout(runs / f"ghspec/crud-{number}"), "zstd")
    damaged = RunLayout(runs / "ghspec/crud-2").archive("zstd")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    group = attempts_group(runs)
    assert [name for name, _ in group.items] == ["ghspec/crud-1", "ghspec/crud-2"]
    assert group.remove() == ["ghspec/crud-2: they stay, its archive is not whole: runner verify ghspec/crud-2"]
    left = [number for number in (1, 2, 3) if (runs / f"ghspec/crud-{number}/steps/step_001/attempts").is_dir()]
    assert left == [2, 3]


def test_images_of_runs_are_known(runs: Path, tmp_path: Path) -> None:
    """The image of every run of the folder counts; a folder without a ledger needs none."""
    assert images_of_kept_runs(runs) == {"sha256:" + "1" * 64}
    assert images_of_kept_runs(tmp_path / "none") == ()


def run(project: Path, *argv: str) -> tuple[int, str, str]:
    """Run a command line in a project and return exit code, stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    code = main(["-C", str(project), *argv], environment={}, out=out, err=err)
    return code, out.getvalue(), err.getvalue()


def test_the_command_line_says_what_is_wanted(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ages and sizes have units, filters may be repeated, an age for images is optional."""
    asked: list[Wanted] = []

    def collect(*arguments: object) -> list[Group]:
        asked.extend(one for one in arguments if isinstance(one, Wanted))
        return []

    monkeypatch.setattr(leftovers, "collect", collect)
    arguments = "--older-than 30d --keep-last 5 --until-free 1GiB --outcome failed,broken --except x --archive-to /a"
    assert run(project, "clean", *arguments.split(), "--images", "90d")[0] == 0
    assert run(project, "clean", "--images", "--attempts")[0] == 0
    assert asked == [
        Wanted(
            images=True,
            images_unused_for=90 * 86400.0,
            runs=RunsWanted(
                rule=Rule(older_than=30 * 86400.0, keep_last=5, free=1024**3),
                filters={"outcomes": ("failed", "broken")},
                spare=("x",),
                archive_to="/a",
            ),
        ),
        Wanted(images=True, attempts=True),
    ]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--outcome", "failed"], "--outcome does not say which runs may go"),
        (["--archive-to", "/a"], "--archive-to does not say which runs may go"),
        (["--older-than", "1d", "--outcome", "fialed"], "did you mean failed?"),
        (["--older-than", "soon"], "`soon` is not a duration"),
        (["--until-free", "much"], "`much` is not a size"),
    ],
)
def test_a_command_line_that_cannot_be_meant(project: Path, argv: list[str], words: str) -> None:
    """What narrows no rule, or is no age and no size, is refused before anything is looked at."""
    code, _, err = run(project, "clean", *argv)
    assert code == 2
    assert words in err


def test_marks_are_listed(runs: Path, project: Path) -> None:
    """`keep` marks, lists and takes away; a run that is not there is an error."""
    output = ["--output", str(runs)]
    assert "no run is kept" in run(project, "keep", *output)[1]
    assert run(project, "keep", "crud-1", "crud-2", "--note", "figure 3", *output)[0] == 0
    assert json.loads(run(project, "keep", "--json", *output)[1]) == [
        {"run": "ghspec/crud-1", "note": "figure 3"},
        {"run": "ghspec/crud-2", "note": "figure 3"},
    ]
    assert run(project, "keep", "crud-1", "--undo", *output)[1] == "ghspec/crud-2  figure 3\n"
    assert "was not kept" in run(project, "keep", "crud-1", "--undo", *output)[2]
    assert run(project, "keep", "nobody", *output)[0] == 2
    assert run(project, "keep", "--undo", *output)[0] == 2


def test_a_long_list_is_cut_and_counted(runs: Path, project: Path) -> None:
    """A person sees the runs that began last and how many there are; a program gets every one."""
    output = ["--output", str(runs)]
    text = run(project, "runs", "--limit", "2", *output)[1]
    assert "4 runs: 2 passed, 1 failed, 1 planned" in text
    assert "shown are the 2 that began last; --limit N or --all shows more" in text
    assert text.count("crud-") == 2
    assert "began last" not in run(project, "runs", *output)[1]
    assert len(json.loads(run(project, "runs", "--json", *output)[1])) == 4
    assert len(json.loads(run(project, "runs", "--json", "--limit", "1", *output)[1])) == 1
    assert run(project, "runs", "--limit", "1", "--all", *output)[0] == 2
