"""Lock files."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.images import lockfile
from runner.images.lockfile import Artifact
from runner.images.models import Recipe
from runner.names import canonical_project

WHEEL = Artifact(
    kind="wheel", name="six", version="1.17.0", file="six-1.17.0-py2.py3-none-any.whl", sha256="ab" * 32, size=11050
)
DEB = Artifact(
    kind="deb",
    name="bc",
    version="1.07.1-3+b1",
    file="bc_1.07.1-3+b1_amd64.deb",
    sha256="cd" * 32,
    size=112,
    path="pool/main/b/bc/bc_1.07.1-3+b1_amd64.deb",
)
TEXT = """\
# Written by `runner images lock demo`; not to be edited by hand.
version: 1
date: "2026-01-02T03:04:05Z"
platform: linux/amd64
python: "3.11"
inputs:
  requirements.in: "r00"
  source: "s11"
artifacts:
  - {"kind": "deb", "name": "bc", "version": "1.07.1-3+b1", "file": "bc_1.07.1-3+b1_amd64.deb", "sha256": "DEB", \
"size": 112, "path": "pool/main/b/bc/bc_1.07.1-3+b1_amd64.deb"}
  - {"kind": "wheel", "name": "six", "version": "1.17.0", "file": "six-1.17.0-py2.py3-none-any.whl", "sha256": "WHEEL", \
"size": 11050}
"""


def _recipe(folder: Path) -> Recipe:
    return Recipe(name="demo", kind="framework", folder=folder, file=folder / "framework.yaml")


def _lock(artifacts: list[Artifact]) -> lockfile.Lock:
    inputs = {"source": "s11", "requirements.in": "r00"}
    return lockfile.make(now=1767323045.9, python="3.11", inputs=inputs, artifacts=artifacts)


def test_a_lock_has_one_line_per_artifact_in_fixed_order() -> None:
    """The text is the same whatever order the artifacts came in, and says nothing of where they came from."""
    expected = TEXT.replace("DEB", "cd" * 32).replace("WHEEL", "ab" * 32)
    assert lockfile.text(_lock([WHEEL, DEB]), "demo") == lockfile.text(_lock([DEB, WHEEL]), "demo") == expected


def test_a_lock_is_read_back_as_it_was(tmp_path: Path) -> None:
    """Writing and reading a lock changes nothing."""
    lock = _lock([WHEEL, DEB])
    lockfile.write(lock, tmp_path / "requirements.lock", "demo")
    assert lockfile.read(_recipe(tmp_path)) == lock
    assert lock.epoch == 1767323045


def test_a_recipe_without_lock_says_what_to_type(tmp_path: Path) -> None:
    """A missing lock is a configuration error with the command that makes one."""
    with pytest.raises(ConfigError) as caught:
        lockfile.read(_recipe(tmp_path))
    assert str(caught.value) == (
        f"{tmp_path}/requirements.lock: demo has no lock\n"
        "An image is only built from artifacts whose hashes are written down.\n"
        "Run: runner images lock demo"
    )


def test_a_lock_that_is_older_than_its_inputs_names_what_changed(tmp_path: Path) -> None:
    """Every input that changed, came or went is named."""
    now = {"source": "other", "requirements.in": "r00", "base": "b"}
    with pytest.raises(ConfigError) as caught:
        lockfile.require_fresh(_recipe(tmp_path), _lock([]), now)
    assert str(caught.value) == (
        f"{tmp_path}/requirements.lock: the lock of demo is older than its inputs\n"
        "Changed since it was made: base, source.\n"
        "Run: runner images lock demo"
    )


def test_a_hash_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    """A lock that was edited by hand into nonsense is refused with file and line."""
    text = lockfile.text(_lock([WHEEL]), "demo").replace("ab" * 32, "abcd")
    (tmp_path / "requirements.lock").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"requirements\.lock:10: .*sha256.*abcd"):
        lockfile.read(_recipe(tmp_path))


@pytest.mark.parametrize(("name", "normal"), [("Flask_SQL.Alchemy", "flask-sql-alchemy"), ("six", "six")])
def test_names_are_normalised(name: str, normal: str) -> None:
    """Names that the index treats as one are one."""
    assert canonical_project(name) == normal


def test_an_unknown_recipe_names_the_nearest() -> None:
    """A misspelt name is answered with the recipes that exist and the likeliest."""
    error = lockfile.unknown("ghspek", ["ghspec", "mini-swe-agent"])
    assert str(error) == ("there is no recipe ghspek\nRecipes: ghspec, mini-swe-agent.\nDid you mean ghspec?")
