"""Runs with their images, on the way to another project."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.project import Project


def test_a_run_is_done_again_in_another_project(probe: Project, tmp_path: Path) -> None:
    """What comes out of a bundle can be looked at, verified, gone into and reproduced, with the very same image."""
    probe.run("go", "--scenario", "write", "--repetitions", "1")
    bundle = tmp_path / "write.bundle"
    made = probe.run("export", "write-r1", "--bundle", str(bundle))
    assert made.returncode == 0, made.stderr
    there = Project(tmp_path / "there")
    there.root.mkdir()
    taken = there.run("import", str(bundle))
    assert taken.returncode == 0, taken.stderr
    assert "1 run taken in" in taken.stdout
    one, other = probe.records()["write"], there.records()["write"]
    assert one == other
    for argv in (("verify", "write-r1"), ("diff", "write-r1@1"), ("shell", "write-r1@1", "--", "cat", "notes.txt")):
        done = there.run(*argv)
        assert done.returncode == 0, (argv, done.stderr)
    assert "identical" in there.run("reproduce", "write-r1").stdout


def test_the_images_are_what_docker_load_takes(probe: Project, tmp_path: Path) -> None:
    """The images of a bundle are in one archive that the engine's own command line opens."""
    probe.run("go", "--scenario", "write", "--repetitions", "1")
    bundle = tmp_path / "write.bundle"
    probe.run("export", "--experiment", "faults", "--bundle", str(bundle))
    image = probe.records()["write"]["run"]["image"]
    packed = subprocess.run(["tar", "-xOf", bundle, "images.tar.zst"], capture_output=True, check=True).stdout
    plain = subprocess.run(["zstd", "-dc"], input=packed, capture_output=True, check=True).stdout
    said = subprocess.run(["docker", "load"], input=plain, capture_output=True, check=True).stdout.decode()
    assert image["tag"] in said
    found = subprocess.run(
        ["docker", "inspect", "-f", "{{.Id}}", image["tag"]], capture_output=True, check=True, text=True
    ).stdout
    assert found.strip() == image["id"]
