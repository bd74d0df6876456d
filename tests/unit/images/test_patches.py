"""Patches of a framework's code: the program that applies them, and what the image stages make of them."""

from __future__ import annotations

import importlib.util
import py_compile
import sys
from pathlib import Path
from types import ModuleType

import pytest
from support.images import Project

from runner.errors import ConfigError
from runner.images import check, context, lockfile, patches, pipeline, recipe
from runner.images.context import Material
from runner.spec.project import find_project

PATCHER = find_project(Path(__file__).parent).images / "base" / patches.PATCHER
RUN = 'RUN ["/usr/bin/python3", "-IS", "/artifacts/patch.py"]\n'
REASON = "It greets a world that is not there."
PATCH = f"""{REASON}

--- a/source/hello.py
+++ b/source/hello.py
@@ -1,3 +1,4 @@
 import sys
-print("Hello, world!")
+name = "you"
+print(f"Hello, {{name}}!")
 sys.exit(0)
"""


@pytest.fixture
def patch() -> ModuleType:
    """The program that applies patches in an image that is built."""
    spec = importlib.util.spec_from_file_location("patch_program", PATCHER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A framework's folder with one file of its source."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "hello.py").write_text('import sys\nprint("Hello, world!")\nsys.exit(0)\n')
    return tmp_path


def test_a_patch_changes_what_it_names(patch: ModuleType, root: Path) -> None:
    """Lines of the context stay, removed ones go, added ones come."""
    assert patch.apply(PATCH, root) == [root / "source" / "hello.py"]
    changed = 'import sys\nname = "you"\nprint(f"Hello, {name}!")\nsys.exit(0)\n'
    assert (root / "source" / "hello.py").read_text() == changed


def test_a_patch_of_several_changes_and_files(patch: ModuleType, root: Path) -> None:
    """Changes far apart, a new file, other kinds of line ends and a missing last one are carried out to the byte."""
    long = root / "source" / "long.txt"
    long.write_bytes("".join(f"line {number}\r\n" for number in range(1, 21)).encode() + "\u2028end".encode())
    text = (
        "Two changes.\ndiff --git a/source/long.txt b/source/long.txt\n--- a/source/long.txt\t2020-01-01\n"
        "+++ b/source/long.txt\n@@ -1,2 +1,1 @@ title\n-line 1\r\n line 2\r\n@@ -20,2 +19,3 @@\n line 20\r\n"
        "-\u2028end\n\\ No newline at end of file\n+--- no header\n+\u2028END\n\\ No newline at end of file\n"
        "--- /dev/null\n+++ b/source/new/file.txt\n@@ -0,0 +1,2 @@\n+one\n+two\n"
    )
    assert len(patch.apply(text, root)) == 2
    middle = "".join(f"line {number}\r\n" for number in range(2, 21))
    assert long.read_bytes() == f"{middle}--- no header\n\u2028END".encode()
    assert (root / "source" / "new" / "file.txt").read_text() == "one\ntwo\n"


BAD = {
    "context that is another": (PATCH.replace(" import sys", " import os"), "line 1: expected 'import os"),
    "a line that is elsewhere": (PATCH.replace("@@ -1,3", "@@ -2,3"), "line 2: expected 'import sys"),
    "beyond the end": (PATCH.replace("@@ -1,3", "@@ -9,3"), "has no line 8 after line 0"),
    "a cut-off change": (PATCH.replace(" sys.exit(0)\n", ""), "ends before it is complete"),
    "a path that leads out": (PATCH.replace("b/source/hello.py", "b/../hello.py"), "is no file below"),
    "a removed file": (PATCH.replace("b/source/hello.py", "/dev/null"), "is no file below"),
    "a file that exists": (PATCH.replace("--- a/source/hello.py", "--- /dev/null"), "is to be added, but exists"),
    "no change": ("Only words.\n", "it changes no file"),
    "a change without a file": ("Why.\n@@ -1,1 +1,1 @@\n-a\n+b\n", "before the name of its file"),
    "one file twice": (PATCH + PATCH, "is in it twice"),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_does_not_fit_changes_nothing(patch: ModuleType, root: Path, bad: str) -> None:
    """A patch is applied as a whole, at the very lines it names, below the folder, or not at all."""
    text, words = BAD[bad]
    before = (root / "source" / "hello.py").read_text()
    with pytest.raises(ValueError, match=words):
        patch.apply(text, root)
    assert (root / "source" / "hello.py").read_text() == before


def test_the_build_stops_at_a_patch_that_does_not_fit(
    patch: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Patches are applied in the order of their names with their reasons in the log, up to the first that fails."""
    monkeypatch.setattr(patch, "FRAMEWORK", root)
    (root / "patches").mkdir()
    (root / "patches" / "2-again.patch").write_text(PATCH)
    (root / "patches" / "1-first.patch").write_text(PATCH)
    assert patch.main() == 1
    said = capsys.readouterr()
    assert said.out == f"patch 1-first.patch: {REASON}\n"
    assert said.err.startswith("patch 2-again.patch cannot be applied: b/source/hello.py, line 2: expected")


@pytest.mark.processes
def test_byte_code_of_a_patched_module_is_made_anew(
    patch: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was installed is compiled without a look at its source ever after; modules without byte code get none."""
    monkeypatch.setattr(patch, "PYTHON", sys.executable)
    monkeypatch.setattr(patch, "FRAMEWORK", root)
    file = root / "source" / "hello.py"
    patch.forget_compiled(file)
    assert not (root / "source" / "__pycache__").exists()
    py_compile.compile(str(file), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    (compiled,) = (root / "source" / "__pycache__").iterdir()
    before = compiled.read_bytes()
    (root / "patches").mkdir()
    (root / "patches" / "greet.patch").write_text(PATCH)
    assert patch.main() == 0
    assert compiled.read_bytes() != before
    assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 1  # PEP 552: by hash, unchecked


@pytest.fixture
def patched(project: Project) -> Path:
    """The recipe `local` with one patch that its Dockerfile applies; return its folder."""
    folder = project.ctx.images / "local"
    (folder / "patches").mkdir()
    (folder / "patches" / "0001-greet.patch").write_text(PATCH)
    with (folder / "Dockerfile").open("a") as file:
        file.write(RUN)
    (project.ctx.images / "base" / patches.PATCHER).write_text("pass\n")
    return folder


def test_reasons_are_recorded_and_listed(project: Project, patched: Path) -> None:
    """Each patch and its reason stand among the findings of a check; the folder goes into the image."""
    one = recipe.load(project.ctx.images, "local")
    assert patches.of(one) == {"0001-greet.patch": REASON}
    assert "patches/0001-greet.patch" in [file.path for file in recipe.recipe_files(one)]
    texts = [finding.text for finding in check.check(project.ctx, ["local"])]
    assert f"patched, 0001-greet.patch: {REASON}" in texts


def test_a_recipe_that_is_not_there_is_no_finding(project: Project) -> None:
    """An unknown name is refused with those there are, as every other stage does."""
    with pytest.raises(ConfigError, match="nosuch"):
        check.check(project.ctx, ["local", "nosuch"])


def test_patches_and_their_program_decide_about_the_tag(project: Project, patched: Path) -> None:
    """Another patch or another program makes another image; without patches the program does not matter."""
    images = project.ctx.images
    tags = [_tag(images)]
    (patched / "patches" / "0001-greet.patch").write_text(PATCH.replace("you", "all"))
    tags.append(_tag(images))
    (images / "base" / patches.PATCHER).write_text("other\n")
    tags.append(_tag(images))
    (patched / "patches" / "0001-greet.patch").unlink()
    tags.append(_tag(images))
    assert len(set(tags)) == 4
    (images / "base" / patches.PATCHER).write_text("another\n")
    assert _tag(images) == tags[-1]


def _tag(images: Path) -> str:
    return pipeline.inputs(images / "local", pipeline.inputs(images / "base", ""))


def test_the_program_is_there_only_for_patches(project: Project, patched: Path) -> None:
    """The build context of a recipe without patches is what it was."""
    assert "artifacts/patch.py" in _context(project)
    (patched / "patches" / "0001-greet.patch").unlink()
    assert "artifacts/patch.py" not in _context(project)


def _context(project: Project) -> list[str]:
    one = recipe.load(project.ctx.images, "local")
    material = Material(files={}, wheels=(), npm=(), tree=None)
    return [entry.path for entry, _ in context.members(one, lockfile.read(one), material, bootstrap=False)]


def test_a_patch_without_a_reason_is_refused(project: Project, patched: Path) -> None:
    """The first line says why; a diff as the tool printed it does not."""
    file = patched / "patches" / "0001-greet.patch"
    file.write_text(PATCH.partition("\n\n")[2])
    with pytest.raises(ConfigError) as caught:
        _tag(project.ctx.images)
    assert str(caught.value) == (
        f"{file}:1: 0001-greet.patch gives no reason\nIts first line is '--- a/source/hello.py'.\n"
        "Write above the changes, in one line, why the framework cannot do without them."
    )


def test_a_patch_that_nobody_applies_is_refused(project: Project, patched: Path) -> None:
    """A record must not tell of patches that the Dockerfile leaves out."""
    dockerfile = patched / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace(RUN, ""))
    with pytest.raises(ConfigError, match="local has patches that its Dockerfile does not apply"):
        _tag(project.ctx.images)


def test_other_files_are_no_patches(project: Project, patched: Path) -> None:
    """A misnamed file would silently not be applied."""
    (patched / "patches" / "0002.diff").write_text(PATCH)
    with pytest.raises(ConfigError, match=r"0002\.diff is no patch"):
        _tag(project.ctx.images)
