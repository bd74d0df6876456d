"""Patterns of paths mean what git means by them, and those that mean nothing are refused."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.spec.patterns import check, parse

PATHS = (
    "a.pyc",
    "src/a.pyc",
    "node_modules",
    "web/node_modules",
    "web/node_modules/x/y.js",
    "build",
    "src/build",
    "src/build/x",
    "src/main.c",
    "src/deep/main.c",
    "[x]",
    "ab",
    "a/b",
    "a/x/b",
    "a/x/y/b",
    "u.txt",
)
PATTERNS = (
    "*.pyc",
    "/*.pyc",
    "node_modules",
    "node_modules/",
    "/node_modules",
    "**/node_modules",
    "src/*.c",
    "src/**/main.c",
    "a/**/b",
    "[[]x]",
    "[!b]b",
    "a?",
    "?.txt",
    "[a-z].txt",
    "/build",
    "src/build",
    "src/build/**",
)


@pytest.mark.processes
@pytest.mark.skipif(not shutil.which("git"), reason="no git on this machine")
def test_the_rules_are_those_of_git(tmp_path: Path) -> None:
    """Each pattern leaves out the paths that git ignores for it, a folder's content with the folder."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    folders = {path.rpartition("/")[0] for path in PATHS} | {
        one for one in PATHS if any(path.startswith(f"{one}/") for path in PATHS)
    }
    for path in PATHS:
        if path not in folders:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text("")
    files = [path for path in PATHS if path not in folders]
    for pattern in PATTERNS:
        (tmp_path / ".gitignore").write_text(f"{pattern}\n")
        told = subprocess.run(
            ["git", "-c", "core.quotePath=false", "check-ignore", "--no-index", *files],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert {path for path in files if _fits(pattern, path)} == set(told.stdout.splitlines()), pattern


def _fits(pattern: str, path: str) -> bool:
    """Tell whether a pattern leaves out a file, itself or with one of its folders."""
    rule = parse(pattern)
    parts = path.split("/")
    folders = ["/".join(parts[:end]) for end in range(1, len(parts))]
    return any(rule.expression.fullmatch(folder) for folder in folders) or (
        not rule.folders_only and rule.expression.fullmatch(path) is not None
    )


def test_a_question_mark_stands_for_a_character() -> None:
    """One of several bytes counts as one, other than in git, whose answer depends on the encoding."""
    assert _fits("?.txt", "\u00fc.txt")
    assert _fits("?.txt", "\udcff.txt")
    assert not _fits("?.txt", "ab.txt")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "is empty"),
        ("/", "is empty"),
        (" x", "blank"),
        ("!x", "none takes in again"),
        ("#x", "[#]"),
        ("a\\*", "[*]"),
        ("**", "fits everything"),
        ("*/", "fits everything"),
        ("a/../b", "`..`"),
        ("./a", "`.`"),
        ("a//b", "nothing between"),
        ("a**", "stands alone"),
        ("[ab", "without its `]`"),
        ("[z-a]", "no sense"),
    ],
)
def test_what_means_nothing_is_refused(pattern: str, words: str) -> None:
    """A pattern that git reads otherwise, or that fits nothing or everything, is refused with what to write."""
    assert words in check(pattern)


@pytest.mark.parametrize("pattern", [*PATTERNS, "**/node_modules/**", ".cache/", "*.pyc", "**/__pycache__"])
def test_what_means_something_is_taken(pattern: str) -> None:
    """Patterns as people write them are taken."""
    assert check(pattern) == ""


@given(st.text(alphabet="ab/*?[]!-.^#", max_size=8))
def test_whatever_is_taken_can_be_used(pattern: str) -> None:
    """No pattern that is taken fails later."""
    if not check(pattern):
        parse(pattern).expression.fullmatch("a/b")
