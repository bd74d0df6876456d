"""Patches that are applied while an image is built on a real engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.images import Project

from runner.errors import ImageError
from runner.images import cas, pipeline, records, saved
from runner.images.layers import Tree, read_layer
from runner.images.models import BuiltImage

pytestmark = pytest.mark.engine

REASON = "Its first words are for another reader."
PATCH = f"""{REASON}
--- a/source/bin/hello
+++ b/source/bin/hello
@@ -1,3 +1,3 @@
 #!/bin/sh
-# Shows what a step would see.
+# Was patched.
 set -e
"""


def _patched(project: Project, text: str) -> Path:
    """Add the recipe `local` with a patch that its Dockerfile applies, locked."""
    project.add("local")
    folder = project.ctx.images / "local"
    (folder / "patches").mkdir()
    (folder / "patches" / "words.patch").write_text(text)
    with (folder / "Dockerfile").open("a") as file:
        file.write('RUN ["/usr/bin/python3", "-IS", "/artifacts/patch.py"]\n')
    pipeline.lock(project.ctx, ["local"])
    return folder


def _top(project: Project, image: BuiltImage, folder: Path) -> Tree:
    """Return the tree of an image's layer above the base."""
    with (folder / "saved.tar").open("wb") as out:
        out.writelines(project.ctx.engine.images.transfer(save=image.engine_id))
    tree: Tree = {}
    for layer in saved.read_saved(folder / "saved.tar").layers[1:]:
        read_layer(tree, layer.file, layer.offset)
    return tree


def test_a_patch_is_applied_kept_and_recorded(project: Project) -> None:
    """The framework's file is the patched one; the patch lies beside it; record and log have its reason."""
    _patched(project, PATCH)
    image = project.ensure("local")
    with cas.scratch(project.ctx.cache, "test") as folder:
        tree = _top(project, image, folder)
        before = (project.ctx.images / "local" / "program" / "bin" / "hello").stat().st_size
        shorter = len("Shows what a step would see.") - len("Was patched.")
        assert tree["opt/framework/source/bin/hello"].entry.size == before - shorter
        assert tree["opt/framework/source/bin/hello"].entry.mode == 0o755
        assert tree["opt/framework/patches/words.patch"].entry.size == len(PATCH)
    record = records.read(project.ctx.cache, image.inputs)
    assert record is not None
    assert record.patches == {"words.patch": REASON}
    assert record.log is not None
    assert f"patch words.patch: {REASON}" in (project.ctx.cache / record.log).read_text()


def test_a_patch_that_does_not_fit_is_no_image(project: Project) -> None:
    """The build ends with the patch's name and the line that was found instead."""
    _patched(project, PATCH.replace("Shows what", "Says what"))
    result = pipeline.ensure(project.ctx, ["local"])["local"]
    assert isinstance(result, ImageError)
    assert "exit code" in str(result) or "non-zero code" in str(result)
    images = project.ctx.images
    inputs = pipeline.inputs(images / "local", pipeline.inputs(images / "base", ""))
    log = (project.ctx.cache / "logs" / f"local-{inputs[:16]}.log").read_text()
    assert "patch words.patch cannot be applied: b/source/bin/hello, line 2: expected '# Says what" in log
