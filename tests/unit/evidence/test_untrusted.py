"""What a container wrote is read without trusting it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.evidence.records import Phase
from runner.evidence.untrusted import (
    ShimReport,
    StepResult,
    problems,
    read_inside,
    read_questions,
    read_result,
    read_shim_report,
)
from runner.names import ANSWERS_LOG, RESULT_FILE, SHIM_REPORT


def test_reads_a_report(tmp_path: Path) -> None:
    """A sound report is read whole; keys of a newer shim are ignored."""
    told = {
        "version": 1,
        "exit_code": 3,
        "signal": 9,
        "timed_out": True,
        "stopped": False,
        "seconds": 1.5,
        "stdout_bytes": 10,
        "stderr_bytes": 0,
        "dropped_stdout": 4,
        "dropped_stderr": 0,
        "cpu_seconds": 0.25,
        "max_rss_bytes": 1024,
        "io_read_bytes": 1,
        "io_write_bytes": 2,
        "killed_processes": 1,
        "error": "",
    }
    (tmp_path / SHIM_REPORT).write_text(json.dumps(told | {"new": 1}))
    report = read_shim_report(tmp_path)
    assert report is not None
    assert report.model_dump() == told
    assert problems(tmp_path) == ()


def test_reads_a_result(tmp_path: Path) -> None:
    """Phases fit the records they become; one that is no object is left out."""
    phase = {"name": "plan", "seconds": 2, "exit_code": 0, "detail": "fine"}
    (tmp_path / RESULT_FILE).write_text(json.dumps({"version": 1, "message": "done", "phases": [phase, 7]}))
    result = read_result(tmp_path)
    assert result is not None
    assert result.message == "done"
    assert [Phase(**one.model_dump()) for one in result.phases] == [Phase.model_validate(phase)]


def test_absent_files(tmp_path: Path) -> None:
    """Files that were not written are no problem."""
    assert read_shim_report(tmp_path) is None
    assert read_result(tmp_path) is None
    assert problems(tmp_path) == ()


@pytest.mark.parametrize(
    "value", ["-1", "1e999", "NaN", "Infinity", '"5"', "true", "null", "[]", "1" + "0" * 400, "-0.5", "{}"]
)
def test_impossible_numbers_count_as_absent(tmp_path: Path, value: str) -> None:
    """A value that no measurement gives is as good as absent, and the others still count."""
    text = f'{{"cpu_seconds": {value}, "max_rss_bytes": {value}, "dropped_stdout": {value}, "exit_code": 1}}'
    (tmp_path / SHIM_REPORT).write_text(text)
    report = read_shim_report(tmp_path)
    assert report == ShimReport(exit_code=1)
    assert report.dropped_stdout == 0


def test_odd_values_count_as_absent(tmp_path: Path) -> None:
    """Exit codes and signals outside their ranges, and flags and texts that are none, do not get through."""
    told = {"exit_code": 256, "signal": 0, "timed_out": "yes", "error": ["x"], "stdout_bytes": 1.5}
    (tmp_path / SHIM_REPORT).write_text(json.dumps(told))
    assert read_shim_report(tmp_path) == ShimReport()


def test_texts_are_cut_and_can_be_written(tmp_path: Path) -> None:
    """A text of any length and with half characters becomes one that fits a record."""
    (tmp_path / RESULT_FILE).write_text('{"message": "' + "\\ud800" + "x" * 5000 + '"}')
    result = read_result(tmp_path)
    assert result is not None
    assert len(result.message) == 2000
    result.message.encode("utf-8")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not usable JSON"),
        (b'{"exit_code": 1', "is not usable JSON"),
        (b"\xff\xfe", "is not usable JSON"),
        (b"[]", "holds no object"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"{}" + b" " * 2**20, "more than 1048576 bytes"),
    ],
)
def test_unusable_files(tmp_path: Path, content: bytes, problem: str) -> None:
    """A file that cannot be used counts as absent, and a sentence says why."""
    for name in (SHIM_REPORT, RESULT_FILE):
        (tmp_path / name).write_bytes(content)
    assert read_shim_report(tmp_path) is None
    assert read_result(tmp_path) is None
    found = problems(tmp_path)
    assert len(found) == 2
    assert all(problem in one for one in found)


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A link to a file of ours, which could tell the container what is in it, is refused."""
    secret = tmp_path / "secret"
    secret.write_text('{"message": "secret"}')
    (tmp_path / RESULT_FILE).symlink_to(secret)
    assert read_result(tmp_path) is None
    assert problems(tmp_path)[0].startswith("result.json cannot be read: ")


def test_special_files_do_not_block(tmp_path: Path) -> None:
    """A FIFO without a writer and a folder are refused at once."""
    os.mkfifo(tmp_path / RESULT_FILE)
    (tmp_path / SHIM_REPORT).mkdir()
    assert read_result(tmp_path) is None
    assert read_shim_report(tmp_path) is None
    assert problems(tmp_path)[1] == "result.json cannot be read: it is a 'p', not a regular file"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@given(st.dictionaries(st.sampled_from([*ShimReport.model_fields, *StepResult.model_fields]), JSON))
def test_any_json_is_survived(tmp_path_factory: pytest.TempPathFactory, content: dict[str, object]) -> None:
    """Whatever JSON object is there, reading it raises nothing and gives numbers that are none or can be used."""
    out = tmp_path_factory.getbasetemp()
    for name in (SHIM_REPORT, RESULT_FILE):
        (out / name).write_text(json.dumps(content))
    report = read_shim_report(out)
    assert report is not None
    assert all(value is None or value >= 0 for value in report.model_dump().values() if not isinstance(value, str))
    assert read_result(out) is not None


@given(st.lists(st.binary(max_size=30) | st.builds(lambda one: json.dumps(one).encode(), JSON)))
def test_any_questions_are_survived(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    """Whatever stands in the file of questions, the result is a list of texts and at most one sentence."""
    folder = tmp_path_factory.mktemp("questions")
    (folder / ANSWERS_LOG).write_bytes(b"\n".join(lines))
    asked, problem = read_questions(folder)
    assert len(asked) <= len(b"\n".join(lines).splitlines())
    assert all(isinstance(one.question, str) and isinstance(one.answer_sha256, str) for one in asked)
    assert "\n" not in problem


def test_too_many_questions_are_counted(tmp_path: Path) -> None:
    """A thousand questions are kept; those after them are counted in a sentence."""
    (tmp_path / ANSWERS_LOG).write_text('{"question": "x"}\n' * 1003)
    asked, problem = read_questions(tmp_path)
    assert (len(asked), problem) == (1000, f"{ANSWERS_LOG} has 3 lines that cannot be used")


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("../outside", "leaves its folder"),
        ("sub/../../outside", "leaves its folder"),
        ("away/outside", "Not a directory"),
        ("link", "symbolic links"),
        ("sub", "Is a directory"),
        ("", "Is a directory"),
        ("none", "No such file"),
        ("large", "more than 5 bytes"),
        ("pipe", "not a regular file"),
    ],
)
def test_nothing_outside_is_read(tmp_path: Path, path: str, problem: str) -> None:
    """A path that leaves its folder, by dots or by links, that is no file, or that is too large is refused."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "outside").write_text("x")
    (root / "away").symlink_to(tmp_path)
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "large").write_text("123456")
    os.mkfifo(root / "pipe")
    with pytest.raises(OSError, match=problem):
        read_inside(root, path, 5)


def test_a_file_inside_is_read(tmp_path: Path) -> None:
    """A file below the folder is read whole, however its path is written."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_bytes(b"\xff")
    assert read_inside(tmp_path, "./a//b/c", 1) == b"\xff"
