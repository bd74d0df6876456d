"""A base that starts from a registry image pinned by digest."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.images import Project

from runner.images import cas, pipeline, records, saved

pytestmark = pytest.mark.engine

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class _Registry(http.server.BaseHTTPRequestHandler):
    """Answers as much of the registry protocol, version 2, as a pull by digest needs."""

    protocol_version = "HTTP/1.1"
    contents: dict[str, tuple[str, bytes | Path]]

    def do_GET(self) -> None:
        kind, content = self.contents.get(self.path.rpartition("/")[2], ("application/json", b"{}"))
        data = content.read_bytes() if isinstance(content, Path) else content
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_HEAD = do_GET  # noqa: N815  # the library's own name

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's own name
        pass


@pytest.fixture
def registry_image(project: Project, tmp_path: Path) -> Iterator[str]:
    """A registry on the loopback device that holds one image, made of the project's own base."""
    base = project.ensure("base")
    with (tmp_path / "saved.tar").open("wb") as out:
        out.writelines(project.ctx.engine.images.transfer(save=base.engine_id))
    (layer,) = saved.read_saved(tmp_path / "saved.tar").layers
    with layer.file.open("rb") as file, (tmp_path / "layer").open("wb") as out:
        out.writelines(cas.copy_range(file, layer.offset, layer.size))
    config = saved.config_json([layer], date=1, labels={})
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.docker.container.image.v1+json",
                "size": len(config),
                "digest": saved.image_id(config),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.docker.image.rootfs.diff.tar",
                    "size": layer.size,
                    "digest": layer.diff_id,
                }
            ],
        }
    ).encode()
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    contents: dict[str, tuple[str, bytes | Path]] = {
        digest: (MANIFEST, manifest),
        saved.image_id(config): ("application/octet-stream", config),
        layer.diff_id: ("application/octet-stream", tmp_path / "layer"),
    }
    handler = type("Handler", (_Registry,), {"contents": contents})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        reference = f"127.0.0.1:{server.server_port}/demo@{digest}"
        yield reference
        server.shutdown()
        thread.join()
    project.ctx.engine.images.remove(reference)


def test_a_registry_image_can_be_the_ground(private: Project, registry_image: str) -> None:
    """The base stands on the pinned image, frameworks stand on that base, and the record says which it was."""
    file = private.ctx.images / "base" / "base.yaml"
    file.write_text(file.read_text() + f"registry: {registry_image}\n")
    private.add("local")
    pipeline.lock(private.ctx, ["base", "local"])
    base = private.ensure("base")
    record = records.read(private.ctx.cache, base.inputs)
    assert record is not None
    assert record.base == registry_image
    assert private.ensure("local").built
    private.ctx.engine.images.remove(private.ensure("local").tag)
    private.ctx.engine.images.remove(base.tag)


def test_a_registry_image_without_digest_is_refused(private: Project) -> None:
    """A tag may be moved: only a digest says which image it is."""
    file = private.ctx.images / "base" / "base.yaml"
    file.write_text(file.read_text() + "registry: debian:bookworm\n")
    assert "debian:bookworm" in private.failure("base")
