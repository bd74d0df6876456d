"""Naming the first difference between two builds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.images.check import compare
from runner.images.layers import Node, Tree
from runner.images.lockfile import Artifact, make
from runner.images.packages import substitutions
from runner.images.tarball import SYMLINK, Entry


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Two files and a link."""
    (tmp_path / "bytes").write_bytes(b"abcabd")
    nodes = [
        Node(entry=Entry(path="a", size=3, mtime=5), file=tmp_path / "bytes"),
        Node(entry=Entry(path="b", size=3, mtime=5), file=tmp_path / "bytes"),
        Node(entry=Entry(path="c", type=SYMLINK, link="a", mtime=5)),
    ]
    return {node.entry.path: node for node in nodes}


def test_equal_trees_have_no_difference(tree: Tree) -> None:
    """The same files give an empty answer."""
    assert compare(tree, dict(tree)) == ""


@pytest.mark.parametrize(
    ("path", "change", "text"),
    [
        ("b", {"mode": 0o755}, "b differs in mode (0o644 → 0o755)"),
        ("b", {"mtime": 6}, "b differs in mtime (5 → 6)"),
        ("b", {"uid": 1}, "b differs in owner ((0, 0) → (1, 0))"),
        ("c", {"link": "b"}, "c differs in link target (a → b)"),
    ],
)
def test_a_changed_attribute_is_named(tree: Tree, path: str, change: dict[str, Any], text: str) -> None:
    """The path is named with the attribute and both its values."""
    other = dict(tree)
    other[path] = replace(tree[path], entry=replace(tree[path].entry, **change))
    assert compare(tree, other) == text


def test_changed_content_is_named_by_hash(tree: Tree) -> None:
    """Bytes that differ under equal attributes are told by their hashes."""
    other = {**tree, "b": replace(tree["b"], offset=3)}
    assert compare(tree, other).startswith("b differs in content (sha256 ba7816bf8f01 → ")


def test_a_missing_and_an_added_path_are_named(tree: Tree) -> None:
    """The first path in the order of bytes is named, and on which side it is."""
    less = {path: node for path, node in tree.items() if path != "b"}
    assert compare(tree, less) == "b is missing in the new one"
    assert compare(less, tree) == "b is only in the new one"


def test_substitutions_name_old_and_new_versions() -> None:
    """What stands in for a package that is gone is recorded, as are packages that came or went."""

    def deb(name: str, version: str) -> Artifact:
        return Artifact(kind="deb", name=name, version=version, file="f", sha256="0" * 64, size=1)

    old = make(now=0, python="3.11", inputs={}, artifacts=[deb("a", "1"), deb("b", "1"), deb("c", "1")])
    new = make(now=0, python="3.11", inputs={}, artifacts=[deb("a", "1"), deb("b", "2"), deb("d", "1")])
    assert substitutions(old, old) == {}
    assert substitutions(old, new) == {"b 1": "2", "c 1": "left out", "d (absent)": "1"}
