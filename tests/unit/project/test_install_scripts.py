"""`make install` finds a Python, and puts `runner` on the PATH without harming what stands there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.processes


def _checkout(folder: Path) -> Path:
    """Make a checkout that holds nothing but the scripts."""
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _run(script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([script], env=environment, capture_output=True, text=True, check=False)


def _home(tmp_path: Path) -> tuple[Path, str]:
    """Return a home folder, and a PATH that has its .local/bin."""
    folder = tmp_path / "home" / ".local" / "bin"
    folder.mkdir(parents=True)
    return tmp_path / "home", f"{folder}:/usr/bin:/bin"


def test_the_command_is_linked_once(tmp_path: Path) -> None:
    """The first time a link is made and named; the second time there is nothing to say."""
    script = _checkout(tmp_path / "a") / "scripts" / "link.sh"
    home, path = _home(tmp_path)
    link, target = home / ".local" / "bin" / "runner", tmp_path / "a" / ".venv" / "bin" / "runner"
    first, second = (_run(script, HOME=str(home), PATH=path) for _ in range(2))
    assert first.stdout == f"install: {link} leads to {target}\n"
    assert (second.stdout, second.stderr, second.returncode) == ("", "", 0)
    assert link.readlink() == target


def test_another_checkout_takes_the_link_over(tmp_path: Path) -> None:
    """Installing a second checkout makes `runner` mean that one, and says what it meant before."""
    home, path = _home(tmp_path)
    for name in ("a", "b"):
        done = _run(_checkout(tmp_path / name) / "scripts" / "link.sh", HOME=str(home), PATH=path)
    assert f"led to {tmp_path}/a/.venv/bin/runner; it leads to this checkout now" in done.stdout
    assert (home / ".local" / "bin" / "runner").readlink() == tmp_path / "b" / ".venv" / "bin" / "runner"


@pytest.mark.parametrize("kind", ["file", "link"])
def test_another_program_of_that_name_is_left_alone(tmp_path: Path, kind: str) -> None:
    """A program called runner that is not ours stays, and the user learns what to type instead."""
    home, path = _home(tmp_path)
    link = home / ".local" / "bin" / "runner"
    if kind == "file":
        link.write_text("mine", encoding="utf-8")
    else:
        link.symlink_to("/opt/other/runner")
    done = _run(_checkout(tmp_path / "a") / "scripts" / "link.sh", HOME=str(home), PATH=path)
    assert f"is left alone; use {tmp_path}/a/.venv/bin/runner" in done.stderr
    assert link.is_symlink() == (kind == "link")
    assert link.is_symlink() or link.read_text(encoding="utf-8") == "mine"


def test_a_folder_off_the_path_is_pointed_out(tmp_path: Path) -> None:
    """Where no folder on the PATH can be written, the user learns which line to type."""
    home = tmp_path / "home"
    done = _run(_checkout(tmp_path / "a") / "scripts" / "link.sh", HOME=str(home), PATH="/usr/bin:/bin")
    assert f'type: export PATH="{home}/.local/bin:$PATH"' in done.stderr
    assert (home / ".local" / "bin" / "runner").is_symlink()


@pytest.mark.parametrize("code", [0, 5])
def test_what_is_left_to_do_stands_last(tmp_path: Path, code: int) -> None:
    """`make images` says that `runner` cannot be found once, below what the build printed, and ends as the build did."""
    folder = _checkout(tmp_path / "a")
    shutil.copyfile(ROOT / "Makefile", folder / "Makefile")
    for name in ("pyproject.toml", "requirements.lock", ".venv/stamps/runtime"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "scripts" / "engine.py").write_text("print('engine')\n", encoding="utf-8")
    runner = folder / ".venv" / "bin" / "runner"
    runner.parent.mkdir()
    runner.write_text(f"#!/bin/sh\necho built\nexit {code}\n", encoding="utf-8")
    runner.chmod(0o755)
    done = subprocess.run(
        ["make", "--directory", str(folder), "images"],
        env={"HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin", "PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith("make")]
    assert lines[1:3] == ["engine", "built"]
    assert lines[3].startswith(f"install: {tmp_path}/home/.local/bin is not on your PATH; type: export PATH=")
    assert (len(lines), done.returncode == 0) == (4, code == 0)


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    """A Python below 3.11 is not taken, and the message says what to install or name."""
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    done = _run(ROOT / "scripts" / "find-python.sh", PYTHON=str(old), PATH="/usr/bin:/bin")
    assert done.returncode == 2
    assert done.stderr.startswith("install: no Python 3.11 or newer found")
    assert "make PYTHON=/path/to/python3" in done.stderr


def test_a_named_python_is_taken() -> None:
    """PYTHON=... chooses the interpreter, whatever else there is."""
    done = _run(ROOT / "scripts" / "find-python.sh", PYTHON=sys.executable, PATH="/usr/bin:/bin")
    assert (done.stdout, done.returncode) == (f"{sys.executable}\n", 0)
