"""Install artifacts inside an image that is being built: Debian packages, wheels, npm packages, a source tree.

Runs as root in a build container without network, from /artifacts, which does not stay in the image. Reads
/artifacts/manifest.json:

    {"bootstrap": bool, "wheels": ["name==version"], "npm": [{"file": "1.tgz", "path": "x"}], "source": bool}

The same artifacts give the same files: no byte code carries a time, and no hash is random.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ARTIFACTS = Path("/artifacts")
FRAMEWORK = Path("/opt/framework")
POLICY = Path("/usr/sbin/policy-rc.d")
SHARDS = 4
ENVIRONMENT = {
    **os.environ,
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "DEBIAN_FRONTEND": "noninteractive",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_CACHE_DIR": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
}
FAKE_DPKG = (
    "Package: dpkg\nStatus: install ok installed\nVersion: 1.20.0\nArchitecture: amd64\nMaintainer: x\nDescription: x\n"
)


def run(*command: str) -> None:
    """Run a program, its output in the build log; stop the build if it fails."""
    print("+", " ".join(command)[:200], flush=True)
    subprocess.run(command, check=True, env=ENVIRONMENT, stdin=subprocess.DEVNULL)


def prepare_bootstrap() -> None:
    """Give dpkg what the packages' scripts expect before the first of them is installed.

    Every package's files lie there already. Some need dpkg to be known as installed, and awk to exist.
    """
    dpkg = Path("/var/lib/dpkg")
    for name in ("info", "updates", "triggers", "alternatives"):
        (dpkg / name).mkdir(parents=True, exist_ok=True)
    (dpkg / "status").write_text(FAKE_DPKG)
    awk = Path("/usr/bin/awk")
    if not awk.exists():
        awk.symlink_to("mawk")


def install_packages(*, bootstrap: bool) -> None:
    """Unpack, then configure all Debian packages, no service started; order is dpkg's own."""
    debs = sorted(str(path) for path in (ARTIFACTS / "debs").glob("*.deb"))
    if not debs:
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    if bootstrap:
        prepare_bootstrap()
        run("dpkg", "--force-unsafe-io", "--force-depends", "--install", *debs)
    else:
        run("dpkg", "--force-unsafe-io", "--force-depends", "--unpack", *debs)
        run("dpkg", "--force-unsafe-io", "--configure", "--pending")
    POLICY.unlink()


def add_user() -> None:
    """Name the first ordinary user id, so that programs that ask who they are get an answer."""
    for file, line in (
        ("/etc/passwd", "runner:x:1000:1000:runner:/state/home:/bin/bash\n"),
        ("/etc/group", "runner:x:1000:\n"),
    ):
        path = Path(file)
        if "\nrunner:" not in path.read_text():
            with path.open("a") as out:
                out.write(line)


def install_wheels(requirements: list[str]) -> None:
    """Install wheels into a virtual environment with the pip that lies among the artifacts."""
    if not requirements:
        return
    venv = FRAMEWORK / "venv"
    run("/usr/bin/python3", "-m", "venv", "--without-pip", str(venv))
    file = ARTIFACTS / "wheels.txt"
    file.write_text("\n".join(requirements) + "\n")
    pip = str(ARTIFACTS / "tools" / "pip.whl" / "pip")
    options = ("--no-index", "--no-deps", "--no-compile", "--find-links", str(ARTIFACTS / "wheels"))
    run(str(venv / "bin" / "python"), pip, "install", "--quiet", *options, "--requirement", str(file))


def install_npm(packages: list[dict[str, str]]) -> None:
    """Unpack npm packages where their lock says, outermost first, and link the programs they declare."""
    modules = FRAMEWORK / "node_modules"
    for package in sorted(packages, key=lambda one: one["path"]):
        target = modules / package["path"]
        target.mkdir(parents=True)
        with tarfile.open(ARTIFACTS / "npm" / package["file"]) as archive:
            for member in archive:
                member.name = member.name.partition("/")[2]
                if member.isreg() and ".." not in Path(member.name).parts:
                    member.mode = 0o755 if member.mode & 0o100 else 0o644
                    member.uid = member.gid = 0
                    archive.extract(member, target, numeric_owner=True)
        link_programs(target)


def link_programs(package: Path) -> None:
    """Link a package's programs into the .bin folder of the node_modules it lies in."""
    described = json.loads((package / "package.json").read_text())
    programs = described.get("bin") or {}
    if isinstance(programs, str):
        programs = {described["name"].rpartition("/")[2]: programs}
    parent = package.parent.parent if package.parent.name.startswith("@") else package.parent
    for name, path in sorted(programs.items()):
        program = (package / path).resolve()
        link = parent / ".bin" / name
        link.parent.mkdir(exist_ok=True)
        if program.is_file() and not link.is_symlink():
            program.chmod(0o755)
            link.symlink_to(os.path.relpath(program, link.parent))


def install_source() -> None:
    """Lay down the framework's source tree: files of the recipe, or the tar of a commit."""
    target = FRAMEWORK / "source"
    tree = ARTIFACTS / "source.tar"
    if tree.is_file():
        with tarfile.open(tree) as archive:
            archive.extractall(target, numeric_owner=True)  # noqa: S202  # written by the fetch stage from a commit's tree
    else:
        shutil.copytree(ARTIFACTS / "source", target, symlinks=True)


def compile_python(folders: list[Path]) -> None:
    """Compile modules to byte code that is tied to no time.

    What the compiler writes may depend on what it compiled before in the same process. The work is therefore cut
    into a fixed number of parts, each in fixed order in one process, whatever the number of processors.
    """
    entries = sorted(str(path) for folder in folders if folder.is_dir() for path in folder.iterdir())
    running = []
    for shard in range(min(SHARDS, len(entries))):
        part = ARTIFACTS / f"compile-{shard}.txt"
        part.write_text("\n".join(entries[shard::SHARDS]) + "\n")
        mode = ("-q", "-f", "--invalidation-mode", "unchecked-hash", "-i", str(part))
        running.append(subprocess.Popen(["/usr/bin/python3", "-m", "compileall", *mode], env=ENVIRONMENT))
    # A package may carry files that are no valid Python, such as templates: their failing is no failure of ours.
    for process in running:
        process.wait()


def main() -> int:
    """Install what the manifest names."""
    manifest = json.loads((ARTIFACTS / "manifest.json").read_text())
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    install_packages(bootstrap=manifest["bootstrap"])
    if manifest["bootstrap"]:
        add_user()
        compile_python(
            [Path(f"/usr/lib/python{python}"), Path("/usr/lib/python3/dist-packages"), Path("/usr/local/lib")]
        )
    install_wheels(manifest["wheels"])
    install_npm(manifest["npm"])
    if manifest["source"]:
        install_source()
    compile_python([FRAMEWORK / "venv" / "lib" / f"python{python}" / "site-packages"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
