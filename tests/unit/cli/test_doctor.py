"""What `doctor` finds, check by check."""

from __future__ import annotations

import dataclasses
import socket
from pathlib import Path

import pytest

from runner.cli import checks
from runner.cli.checks import Finding
from runner.cli.commands.doctor import exit_code
from runner.engine.protocol import EngineInfo
from runner.errors import EngineError, ExitCode
from runner.images.models import SystemRecipe
from runner.spec.model import Model

INFO = EngineInfo(
    version="20.10",
    api_version="1.41",
    platform="linux/amd64",
    cgroup_version=1,
    cgroup_driver="cgroupfs",
    cpus=2,
    memory=8 * 1024**3,
    rootless=False,
    storage_driver="overlay2",
    root_dir="/var/lib/docker",
    kernel="6.1",
    operating_system="Debian",
    has_init=True,
)


def statuses(info: EngineInfo) -> dict[str, str]:
    """Return the status of each check of an engine."""
    return {one.name: one.status for one in checks.engine_findings(info)}


def test_a_good_engine() -> None:
    """An engine with init and cgroups needs nothing."""
    assert set(statuses(INFO).values()) == {"ok"}


def test_an_engine_without_cgroups_measures_less() -> None:
    """Without a cgroup driver runs work and numbers are not exact: a warning."""
    assert statuses(dataclasses.replace(INFO, cgroup_driver="none"))["cgroups"] == "warn"


def test_an_engine_without_init_is_no_use() -> None:
    """Without an init binary the engine cannot be used."""
    findings = list(checks.engine_findings(dataclasses.replace(INFO, has_init=False)))
    assert exit_code(findings) is ExitCode.ENGINE


def test_the_engine_outranks_every_other_failure() -> None:
    """An engine that cannot be used decides the exit code, however late it is found; warnings never do."""
    disk = Finding(name="disk", status="fail", text="full", code=ExitCode.STORAGE)
    engine = checks.failed("engine", EngineError("no engine", why="no socket", hint="make engine"))
    warned = Finding(name="init", status="warn", text="", code=ExitCode.ENGINE)
    assert exit_code([disk, engine]) is ExitCode.ENGINE
    assert exit_code([warned, disk]) is ExitCode.STORAGE
    assert exit_code([warned]) is ExitCode.PASSED
    assert (engine.text, engine.hint) == ("no engine no socket", "make engine")


def test_rights_on_the_socket(tmp_path: Path) -> None:
    """A socket that can be used is fine, one that is absent points to `make engine`, a remote engine has none."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert checks.user_finding({"DOCKER_HOST": f"unix://{path}"}).status == "ok"
    missing = checks.user_finding({"DOCKER_HOST": f"unix://{tmp_path}/none"})
    assert (missing.status, missing.hint) == ("warn", "make engine")
    assert checks.user_finding({"DOCKER_HOST": "tcp://host:2375"}).status == "ok"


def test_certificates_that_are_not_there(tmp_path: Path) -> None:
    """A certificate setting that names no file is a failure with the variable's name; one that does is listed."""
    good = tmp_path / "ca.pem"
    good.touch()
    found = list(checks.network_findings({"SSL_CERT_FILE": str(good), "PIP_CERT": "/none.pem"}))
    assert [(one.status, one.text) for one in found if one.name == "certificates"] == [
        ("ok", f"SSL_CERT_FILE: {good}"),
        ("fail", "PIP_CERT: no file /none.pem"),
    ]


def test_proxies_are_named_and_not_shown() -> None:
    """Proxy settings may hold passwords: only their names are shown."""
    found = next(iter(checks.network_findings({"https_proxy": "http://me:secret@host"})))
    assert found.text == "set: HTTPS_PROXY"


def test_the_scripted_model_needs_no_key() -> None:
    """The model's line says loudly that answers are prepared."""
    assert checks.model_finding(Model()).text.startswith("scripted model: prepared answers")
    assert checks.model_finding(Model(provider="openai", name="x")).text == "openai/x: its key is there"


def test_where_debian_packages_come_from() -> None:
    """A mirror that is set is named without its address, one that is missing is a warning that says what to set."""
    system = SystemRecipe(suite="bookworm")
    found = checks.debian_finding(system, {"RUNNER_DEBIAN_MIRROR": "http://me:secret@host/debian"})
    assert (found.status, found.text) == (
        "ok",
        "bookworm, bookworm-updates from RUNNER_DEBIAN_MIRROR; needed to lock and fetch images only",
    )
    missing = checks.debian_finding(system, {"PATH": ""})
    assert missing.status == "warn"
    assert "export RUNNER_DEBIAN_MIRROR=" in missing.hint


def test_a_folder_that_will_be_made(tmp_path: Path) -> None:
    """A folder that does not exist yet is judged by the nearest one that does; a file in its way is a failure."""
    assert checks.writable_finding("output", tmp_path / "a" / "b").status == "ok"
    (tmp_path / "file").touch()
    assert checks.writable_finding("output", tmp_path / "file" / "b").code is ExitCode.STORAGE
    assert checks.disk_finding("disk", tmp_path / "a" / "b").text.count("must stay free") == 1


def test_the_rules_of_the_machine(tmp_path: Path) -> None:
    """The site file is named, a mistake in it fails with file and line, and so does one that is not there."""
    site = tmp_path / "site.yaml"
    site.write_text("cpus: 2\n", encoding="utf-8")
    found = checks.site_finding({"RUNNER_SITE": str(site)})
    assert (found.status, found.text) == ("ok", f"the rules of this machine are in {site}")
    site.write_text("cpus: lots\n", encoding="utf-8")
    found = checks.site_finding({"RUNNER_SITE": str(site)})
    assert (found.status, found.code) == ("fail", ExitCode.CONFIG)
    assert (found.text, found.hint) == (f"{site}:1: cpus: `lots` is not a number", "write a number, like 0.5")
    assert checks.site_finding({"RUNNER_SITE": str(tmp_path / "none.yaml")}).status == "fail"


@pytest.mark.processes
def test_a_registry_that_does_not_answer_is_a_warning() -> None:
    """Registries are needed to make images only: silence is a warning that ends with the tool's last line."""
    broken = checks._registry("pip", ("sh", "-c", "echo first >&2; echo last >&2; exit 1"), {}, "hint")
    assert (broken.status, broken.text) == ("warn", "does not answer as pip is set up: last")
    assert checks._registry("pip", ("true",), {}, "").status == "ok"
    assert checks._registry("pip", ("/none/tool",), {}, "").status == "warn"
