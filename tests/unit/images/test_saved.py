"""Reading and writing image archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from runner.errors import ImageError
from runner.images import saved

LAYER = b"\0" * 10240
DIFF_ID = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"


def _archive(path: Path, members: dict[str, bytes | str]) -> Path:
    """Write a `docker save` archive; text is the target of a symbolic link."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def _described(layers: list[str]) -> dict[str, bytes | str]:
    config = {"config": {"Env": ["A=1"]}, "rootfs": {"diff_ids": [DIFF_ID] * len(layers)}}
    manifest = [{"Config": "c.json", "Layers": layers, "RepoTags": ["x:y"]}]
    return {"c.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}


def test_what_is_written_for_loading_can_be_read_again(tmp_path: Path) -> None:
    """An archive for `docker load` names its config by digest, and holds config and layers unchanged."""
    (tmp_path / "layer").write_bytes(LAYER)
    layer = saved.layer_of(tmp_path / "layer")
    config = saved.config_json([layer], date=1_700_000_000, labels={"b": "2", "a": "1"}, environment=["A=1", "TZ=X"])
    (tmp_path / "out.tar").write_bytes(b"".join(saved.load_archive(config, [layer], "demo:1")))
    image = saved.read_saved(tmp_path / "out.tar")
    assert image.config == json.loads(config)
    assert [one.diff_id for one in image.layers] == [DIFF_ID]
    raw = (tmp_path / "out.tar").read_bytes()
    assert raw[image.layers[0].offset : image.layers[0].offset + image.layers[0].size] == LAYER
    assert saved.image_id(config).removeprefix("sha256:").encode() + b".json" in raw


def test_the_config_is_fixed() -> None:
    """The config of given layers has the same bytes for ever, and with it the image its id."""
    layer = saved.Layer(diff_id=DIFF_ID, file=Path("x"), offset=0, size=1)
    config = saved.config_json([layer], date=1_700_000_000, labels={"b": "2", "a": "1"}, environment=["Z=1", "TZ=X"])
    assert json.loads(config)["config"]["Env"][-2:] == ["TZ=UTC", "Z=1"]
    assert saved.image_id(config) == "sha256:6043c53bf7b69676f3694a3ed2b8e19dc5a345044e816276d1b3f786903b5728"


def test_layers_shared_by_links_are_found(tmp_path: Path) -> None:
    """Older engines write a layer once and link to it from elsewhere in the archive."""
    members = _described(["one/layer.tar", "two/layer.tar"])
    members |= {"one/layer.tar": LAYER, "two/layer.tar": "../one/layer.tar"}
    image = saved.read_saved(_archive(tmp_path / "saved.tar", members))
    assert image.layers[0].offset == image.layers[1].offset


def test_a_compressed_layer_is_unpacked(tmp_path: Path) -> None:
    """Newer image stores keep layers compressed; what is read is the plain layer."""
    members = {"blobs/x": gzip.compress(LAYER)} | _described(["blobs/x"])
    (layer,) = saved.read_saved(_archive(tmp_path / "saved.tar", members)).layers
    assert layer.file.read_bytes() == LAYER
    assert layer.size == len(LAYER)


def test_an_archive_without_manifest_is_refused(tmp_path: Path) -> None:
    """Something that is no image archive is an image error that shows what was there."""
    with pytest.raises(ImageError, match=r"without manifest\.json"):
        saved.read_saved(_archive(tmp_path / "saved.tar", {"x": b""}))
