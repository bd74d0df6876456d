"""A history that is damaged or hostile is refused by name, and nothing is written outside."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from support.history_world import World

from runner.errors import ConfigError, StorageError
from runner.evidence.compress import compressor
from runner.evidence.history.blobs import Blobs
from runner.evidence.history.check import check_history
from runner.evidence.history.index import Index, Node, decode, encode
from runner.evidence.history.oci import read_steps
from runner.evidence.history.restore import restore
from runner.evidence.walk import DIRECTORY, FILE, LINK


@pytest.fixture
def kept(world: World) -> World:
    """Return a world with one step of two files."""
    (world.workspace / "app").mkdir()
    (world.workspace / "app" / "main.py").write_text("print('hello')\n")
    (world.workspace / "big").write_bytes(b"".join(i.to_bytes(4, "big") for i in range(100_000)))
    world.step()
    return world


def _layer(world: World) -> Path:
    return Blobs(world.folder).path(world.history.steps[0].layer.sha256)


def _forge(world: World, edit: Callable[[tarfile.TarInfo, bytes], bytes | None]) -> None:
    """Write the layer anew with other content of its members; None leaves one out."""
    import zstandard

    data = zstandard.ZstdDecompressor().stream_reader(_layer(world).read_bytes()).read()
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
        for member in old:
            content = file.read() if (file := old.extractfile(member)) else b""
            if (changed := edit(member, content)) is not None:
                member.size = len(changed)
                new.addfile(member, io.BytesIO(changed))
    packed = compressor("zstd")
    _layer(world).write_bytes(packed.compress(out.getvalue()) + packed.flush())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (b"PRINT('hello')\n", "app/main.py has sha256"),
        (b"longer than it was, by far", "app/main.py has 26 bytes, not 15"),
        (None, "app/main.py is missing"),
    ],
)
def test_forged_member_is_named(kept: World, tmp_path: Path, change: bytes | None, words: str) -> None:
    """A member that is not what the index says stops the restoring by name, and nothing is left of it."""
    _forge(kept, lambda member, content: change if member.name.endswith("main.py") else content)
    with pytest.raises(StorageError, match=words):
        restore(kept.folder, kept.history.steps[0], tmp_path / "back")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    assert any(words in problem for problem in check_history(kept.folder))


def test_broken_off_layer_names_what_it_broke_in(kept: World, tmp_path: Path) -> None:
    """A layer that ends too soon is refused with the file that could not be read."""
    _layer(kept).write_bytes(_layer(kept).read_bytes()[:-200])
    with pytest.raises(StorageError, match=r"big cannot be read"):
        restore(kept.folder, kept.history.steps[0], tmp_path / "back")


def test_every_damaged_byte_is_found(kept: World) -> None:
    """Verifying reports any blob of which a byte changed."""
    for path in sorted((kept.folder / "blobs" / "sha256").iterdir()):
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert any(path.name in problem for problem in check_history(kept.folder)), path
        path.write_bytes(data)
    assert check_history(kept.folder) == []


def test_missing_blob_is_found(kept: World, tmp_path: Path) -> None:
    """A layer that is gone is named by its digest."""
    _layer(kept).unlink()
    assert any(_layer(kept).name in problem for problem in check_history(kept.folder))
    with pytest.raises(StorageError, match="No such file"):
        restore(kept.folder, kept.history.steps[0], tmp_path / "back")


def test_damaged_layout_index(kept: World) -> None:
    """An index.json that is no JSON, or says something else, is refused with its place."""
    path = kept.folder / "index.json"
    content = json.loads(path.read_bytes())
    del content["manifests"][0]["annotations"]
    for bad in (
        b"{",
        b"[]",
        json.dumps(content).encode(),
        b'{"manifests": [{"annotations": {}, "digest": "../../x"}]}',
    ):
        path.write_bytes(bad)
        with pytest.raises(StorageError):
            read_steps(kept.folder)


def _file(layer: int = 1) -> Node:
    return Node(FILE, 0o644, 1, "0" * 64, layer=layer)


@pytest.mark.parametrize(
    "nodes",
    [
        {b"../x": _file()},
        {b"/etc/x": _file()},
        {b"a/./b": _file()},
        {b"a\0b": _file()},
        {b"": Node(DIRECTORY, 0o755)},
        {b"a": Node(LINK, 0o777, target=b"/etc"), b"a/passwd": _file()},
        {b"a/b": _file()},
        {b"a": _file(layer=-1)},
        {b"a": _file()._replace(sha256="../../x")},
        {b"a": _file()._replace(target=b"b")},
        {b"a": _file()._replace(target=b"b"), b"b": Node(LINK, 0o777, target=b"/etc")},
    ],
)
def test_index_that_leads_out_is_refused(nodes: dict[bytes, Node]) -> None:
    """A path with `..`, an absolute one, or one below a link or a file is refused before anything is written."""
    with pytest.raises(StorageError):
        decode(encode(Index(nodes=nodes)))


def test_link_outwards_is_made_and_never_followed(world: World, tmp_path: Path) -> None:
    """A link to somewhere else comes back as a link; what it points to is not touched."""
    (tmp_path / "outside").write_text("mine")
    (world.workspace / "a").symlink_to(tmp_path / "outside")
    world.step()
    (world.workspace / "a").unlink()
    (world.workspace / "a").write_text("theirs")
    world.step()
    assert [world.restored(1), world.restored(2)] == world.pictures
    assert (tmp_path / "outside").read_text() == "mine"


def test_target_must_be_free(kept: World, tmp_path: Path) -> None:
    """Nothing is written where something is; an empty folder is taken, and entered by its owner alone."""
    target = tmp_path / "back"
    target.mkdir()
    (target / "mine").write_text("x")
    with pytest.raises(ConfigError, match="there is something at"):
        restore(kept.folder, kept.history.steps[0], target)
    (target / "mine").unlink()
    restore(kept.folder, kept.history.steps[0], target)
    assert (target / "app" / "main.py").read_text() == "print('hello')\n"
    assert target.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[" * 100_000, "recursion"),
        (bytes(20_000_000), "Expecting value"),
        (b"", "NoneType"),
        (b'{"version": 1, "skipped": []}\n3', "int"),
        (b'{"version": 1, "skipped": []}\n["a", "d", 493]\n["a", "d", 493]', "'a' twice"),
    ],
)
def test_what_is_no_index(text: bytes, words: str) -> None:
    """A blob that is no index, however deep or long, is refused in words."""
    with pytest.raises(StorageError, match="cannot be used") as caught:
        decode(zstandard.compress(text))
    assert words in caught.value.why


def test_as_much_as_an_index_may_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """An index of more paths or bytes than may be is neither written nor read."""
    index = Index(nodes={b"a": Node("directory", 0o755), b"b": Node("directory", 0o755)})
    data = encode(index)
    assert decode(data) == index
    for name, words in (("MOST", "more than 1 paths"), ("LARGEST", "more than 1 bytes")):
        with monkeypatch.context() as patch:
            patch.setattr(f"runner.evidence.history.index.{name}", 1)
            with pytest.raises(StorageError, match="2 paths are more than the history can list"):
                encode(index)
            with pytest.raises(StorageError) as caught:
                decode(data)
            assert words in caught.value.why
