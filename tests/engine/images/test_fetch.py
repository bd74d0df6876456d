"""Artifacts from the Python index, npm, git and Debian, with the network in the fetch stage only."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from support.images import ROOT, Project

from runner.images import apt, cas, lockfile, pipeline, recipe, records
from runner.images.check import check
from runner.images.lockfile import Artifact, Lock

pytestmark = pytest.mark.engine


def _lock(project: Project, name: str) -> Lock:
    return lockfile.read(recipe.load(project.ctx.images, name))


def _rewrite(project: Project, name: str, **changes: object) -> Artifact:
    """Change the first artifact of a lock and return it as it was."""
    lock = _lock(project, name)
    first, *rest = lock.artifacts
    changed = lock.model_copy(update={"artifacts": (first.model_copy(update=changes), *rest)})
    lockfile.write(changed, recipe.load(project.ctx.images, name).lock, name)
    return first


def _spoil(project: Project, artifact: Artifact, content: bytes) -> Path:
    path = cas.path_of(project.ctx.cache, artifact.sha256)
    path.chmod(0o644)
    path.write_bytes(content)
    return path


def test_a_package_from_the_python_index_is_locked_fetched_and_built(private: Project) -> None:
    """The lock names the wheel with its hash and no index; what was locked is fetched again by its hash."""
    folder = private.add("wheel")
    assert pipeline.lock(private.ctx, ["wheel"]) == {"wheel": 1}
    assert "http" not in (folder / "requirements.lock").read_text()
    (wheel,) = _lock(private, "wheel").artifacts
    assert (wheel.kind, wheel.name, wheel.version) == ("wheel", "six", "1.17.0")
    cas.path_of(private.ctx.cache, wheel.sha256).unlink()
    assert pipeline.fetch(private.ctx, ["wheel"]) == {"wheel": 1}
    image = private.ensure("wheel")
    log = (private.ctx.cache / "logs" / f"wheel-{image.inputs[:16]}.log").read_text()
    assert log.endswith("1.17.0\nsmoke test: exit code 0\n")
    assert [one.text for one in check(private.ctx, ["wheel"], rebuild=True) if not one.ok] == []


def test_a_lock_whose_hash_does_not_fit_is_refused(private: Project) -> None:
    """What the index has under the name is not taken if its bytes are not those of the lock."""
    private.add("wheel")
    pipeline.lock(private.ctx, ["wheel"])
    _rewrite(private, "wheel", sha256="0" * 64)
    text = private.failure("wheel")
    assert "HASH" in text.upper()
    assert "0" * 64 in text


def test_a_damaged_artifact_is_refused_by_name(private: Project) -> None:
    """Neither building nor checking believes a cached file that was tampered with, or of which nothing is left."""
    private.add("wheel")
    pipeline.lock(private.ctx, ["wheel"])
    (wheel,) = _lock(private, "wheel").artifacts
    for content in (b"not a wheel", b""):
        path = _spoil(private, wheel, content)
        expected = f"{wheel.file} in the cache is not what the lock asks for\n{path} has {len(content)} bytes"
        assert private.failure("wheel").startswith(expected)
        assert [one.text.startswith(expected) for one in check(private.ctx, ["wheel"]) if not one.ok] == [True]
    path.unlink()
    assert private.ensure("wheel").built


def test_an_unknown_version_says_what_pip_said(private: Project) -> None:
    """A version that does not exist is an error with the file at fault and pip's own words."""
    file = private.add("wheel") / "framework.yaml"
    file.write_text(file.read_text().replace("1.17.0", "0.0.99"))
    with pytest.raises(Exception, match=r"framework\.yaml: pip install failed with exit code 1\n(.|\n)*six==0\.0\.99"):
        pipeline.lock(private.ctx, ["wheel"])


@pytest.fixture
def repository(tmp_path: Path) -> tuple[Path, str]:
    """A bare repository, and the commit before its newest."""
    work, bare = tmp_path / "work", tmp_path / "bare.git"
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(work), *identity, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    (work / "bin").mkdir(parents=True)
    git("init", "--quiet")
    (work / "bin" / "hello").write_text("#!/bin/sh\necho from git\n")
    (work / "bin" / "hello").chmod(0o755)
    (work / "link").symlink_to("bin/hello")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    commit = git("rev-parse", "HEAD")
    (work / "bin" / "hello").write_text("#!/bin/sh\necho newer\n")
    git("commit", "--quiet", "-a", "-m", "two")
    subprocess.run(["git", "clone", "--quiet", "--bare", str(work), str(bare)], check=True, capture_output=True)
    return bare, commit


def _git_recipe(project: Project, address: str, commit: str) -> None:
    folder = project.ctx.images / "git"
    folder.mkdir()
    shutil.copyfile(project.add("wheel") / "Dockerfile", folder / "Dockerfile")
    (folder / "framework.yaml").write_text(
        f"name: git\nsource: {{git: '{address}', commit: '{commit}'}}\n"
        "command: [/opt/framework/source/link]\nsmoke_test: {command: [/opt/framework/source/link]}\n"
    )


def test_a_git_commit_becomes_the_source(private: Project, repository: tuple[Path, str]) -> None:
    """Exactly the commit's tree is in the image, links and modes included, and its lock needs no repository again."""
    bare, commit = repository
    _git_recipe(private, bare.as_uri(), commit)
    pipeline.lock(private.ctx, ["git"])
    (tree,) = _lock(private, "git").artifacts
    assert (tree.kind, tree.commit) == ("git", commit)
    shutil.rmtree(bare)
    image = private.ensure("git")
    log = (private.ctx.cache / "logs" / f"git-{image.inputs[:16]}.log").read_text()
    assert "\nfrom git\n" in log
    private.ctx.engine.images.remove(image.tag)


def test_a_commit_that_is_not_there_is_an_error(private: Project, repository: tuple[Path, str]) -> None:
    """A commit that the repository does not have is named."""
    bare, _ = repository
    _git_recipe(private, bare.as_uri(), "1" * 40)
    with pytest.raises(Exception, match=r"git rev-parse failed|git fetch failed"):
        pipeline.lock(private.ctx, ["git"])


@pytest.mark.skipif(shutil.which("npm") is None, reason="this machine has no npm")
def test_an_npm_package_is_unpacked_with_what_it_needs(private: Project) -> None:
    """The package and its dependency lie in node_modules, locked with hash and integrity."""
    private.add("npm")
    pipeline.lock(private.ctx, ["npm"])
    found = {one.name: one for one in _lock(private, "npm").artifacts}
    assert set(found) == {"is-odd", "is-number"}
    assert str(found["is-odd"].integrity).startswith("sha512-")
    cas.path_of(private.ctx.cache, found["is-number"].sha256).unlink()
    assert private.ensure("npm").built


@pytest.fixture
def source_distribution(tmp_path: Path) -> Path:
    """A folder with one distribution that exists as C source only."""
    folder = tmp_path / "index"
    folder.mkdir()
    files = {
        "setup.py": "from setuptools import Extension, setup\n"
        "setup(name='answer', version='1.0', ext_modules=[Extension('answer', ['answer.c'])])\n",
        "answer.c": '#include <Python.h>\nstatic struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "answer"};\n'
        "PyMODINIT_FUNC PyInit_answer(void) { return PyModule_Create(&module); }\n",
        "PKG-INFO": "Metadata-Version: 2.1\nName: answer\nVersion: 1.0\n",
    }
    with tarfile.open(folder / "answer-1.0.tar.gz", "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"answer-1.0/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return folder


def test_a_source_distribution_is_compiled_outside_the_image(project: Project, source_distribution: Path) -> None:
    """The lock holds the source's hash, the image the compiled module and no compiler, the record the wheel's hash."""
    shutil.copytree(ROOT / "images" / "builder", project.ctx.images / "builder")
    file = project.add("wheel") / "framework.yaml"
    text = file.read_text().replace("pypi: six, version: 1.17.0", "pypi: answer, version: '1.0'")
    file.write_text(text.replace("import six; print(six.__version__)", "import answer; print(answer.__file__)"))
    links = f"{source_distribution} {os.environ.get('PIP_FIND_LINKS', '')}"
    settings = {**os.environ, "PIP_FIND_LINKS": links}
    project = Project(ctx=replace(project.ctx, environment=settings), said=project.said)
    pipeline.lock(project.ctx, ["wheel"])
    (source,) = _lock(project, "wheel").artifacts
    assert (source.kind, source.file) == ("sdist", "answer-1.0.tar.gz")
    image = project.ensure("wheel")
    record = records.read(project.ctx.cache, image.inputs)
    assert record is not None
    assert set(record.derived) == {"answer-1.0.tar.gz"}
    file.write_text(
        file.read_text().replace('python, -c, "import answer; print(answer.__file__)"', 'sh, -c, "! which gcc cc"')
    )
    assert project.ensure("wheel").id == image.id


def _with_package(project: Project) -> None:
    """Lock a framework that asks for one small Debian package, and forget what was fetched."""
    file = project.add("local") / "framework.yaml"
    file.write_text(file.read_text() + "system_packages: [bc]\n")
    pipeline.lock(project.ctx, ["local"])
    pipeline.fetch(project.ctx, ["local"])


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="this machine has no apt")
def test_a_package_that_is_gone_is_taken_from_the_archive(private: Project, tmp_path: Path) -> None:
    """What the mirror has dropped comes from the archive's state of the lock's date, and the image is the locked one."""
    _with_package(private)
    lock = _lock(private, "local")
    stamp = lock.date.replace("-", "").replace(":", "")
    for one in lock.artifacts:
        cached = cas.path_of(private.ctx.cache, one.sha256)
        target = tmp_path / "archive" / stamp / str(one.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        cached.rename(target)
    (tmp_path / "empty").mkdir()
    settings = {
        **os.environ,
        apt.MIRROR_VARIABLE: (tmp_path / "empty").as_uri(),
        apt.SNAPSHOT_VARIABLE: (tmp_path / "archive").as_uri() + "/@SNAPSHOTID@",
    }
    private = Project(ctx=replace(private.ctx, environment=settings), said=private.said)
    image = private.ensure("local")
    record = records.read(private.ctx.cache, image.inputs)
    assert record is not None
    assert record.substitutions == {}
    assert [text for text in private.said if "asking the archive's state" in text]


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="this machine has no apt")
def test_a_package_that_is_gone_for_good_is_resolved_anew(private: Project) -> None:
    """The image is built all the same, loudly, and its record says which version stands in for which."""
    _with_package(private)
    gone = _rewrite(private, "local", version="0.1-1", path="pool/main/b/bc/bc_0.1-1_amd64.deb", sha256="1" * 64)
    committed = (private.ctx.images / "local" / "requirements.lock").read_bytes()
    settings = {**os.environ, apt.SNAPSHOT_VARIABLE: (private.ctx.cache / "none").as_uri()}
    private = Project(ctx=replace(private.ctx, environment=settings), said=private.said)
    image = private.ensure("local")
    record = records.read(private.ctx.cache, image.inputs)
    assert record is not None
    assert record.substitutions == {f"{gone.name} 0.1-1": gone.version}
    assert [text for text in private.said if "RESOLVING ANEW" in text]
    assert (private.ctx.images / "local" / "requirements.lock").read_bytes() == committed
    assert not private.ensure("local").built


def test_data_is_locked_alone(private: Project) -> None:
    """What data.in names is in the lock without what it needs itself, marked as not to be installed."""
    folder = private.add("wheel")
    (folder / "data.in").write_text("# needs two others\nuvicorn==0.54.0\n")
    assert pipeline.lock(private.ctx, ["wheel"]) == {"wheel": 2}
    found = {one.name: one.use for one in _lock(private, "wheel").artifacts}
    assert found == {"six": "install", "uvicorn": "data"}
