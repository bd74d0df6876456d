"""Other runs' ids in a run's own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.evidence.layout import RunLayout
from runner.evidence.measures.contamination import contamination, foreign, other_runs, run_files, step_files

MIB = 1024 * 1024
OWN, OTHER = "crud-r1-0123456789", "crud-r2-abcdef0123"


def test_files_that_name_another_run_are_counted(tmp_path: Path) -> None:
    """Each file counts once, and the reason names the first; this run's own id is none."""
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    one.write_text(f"{OWN} {OTHER} {OTHER}")
    two.write_text(f'{{"run": "{OTHER}"}}\n')
    three.write_text(OWN)
    reading = contamination([one, two, three], [OTHER])
    assert (reading.value, reading.status, reading.reason) == (2, "measured", f"named in one: {OTHER}")


def test_nothing_foreign_is_a_measured_nought(tmp_path: Path) -> None:
    """Files of nobody else, absent ones and text that only looks like an id are no contamination."""
    file = tmp_path / "log"
    file.write_text(f"{OWN} crud-r9-9999999999 {OTHER}0")
    assert contamination([file, tmp_path / "gone"], [OTHER]).value == 0


@pytest.mark.parametrize("before", [0, MIB - 90, MIB - 9, MIB - 1, 2 * MIB - 18])
def test_an_id_across_the_pieces_of_a_large_file_is_found(tmp_path: Path, before: int) -> None:
    """Wherever it stands, and once."""
    file = tmp_path / "log"
    file.write_bytes(b"-" * before + OTHER.encode() + b"-r1-" * 400_000)
    assert foreign([file], [OTHER]) == [(file, OTHER)]


def test_a_longer_word_across_the_pieces_is_no_id(tmp_path: Path) -> None:
    """Where a piece ends within a word, the rest of the word still counts."""
    file = tmp_path / "log"
    file.write_bytes(b"-" * (MIB - len(OTHER)) + OTHER.encode() + b"0" + b"-" * 200)
    assert foreign([file], [OTHER]) == []


def test_the_runs_beside_it_are_known_but_for_its_own(tmp_path: Path) -> None:
    """Every framework's runs, without itself and without the one it descends from."""
    for place in (f"a/{OWN}", f"a/{OTHER}", f"b/{OWN}", "b/hello-r1-0000000000"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "runner.db").touch()
    assert sorted(other_runs(tmp_path, {OWN})) == [OTHER, "hello-r1-0000000000"]
    assert other_runs(tmp_path / "gone", ()) == []


def test_logs_of_every_attempt_are_looked_at(layout: RunLayout) -> None:
    """What any attempt printed, the calls and the log of the run."""
    early = layout.step(1).attempt(1).log("stderr")
    early.parent.mkdir(parents=True)
    early.touch()
    names = [path.relative_to(layout.root).as_posix() for path in (*run_files(layout), *step_files(layout.step(1)))]
    assert names == [
        "logs/run.log",
        "llm/calls.jsonl",
        "llm/connections.jsonl",
        "steps/step_001/stdout.log",
        "steps/step_001/stderr.log",
        "steps/step_001/attempts/01/stderr.log",
    ]
