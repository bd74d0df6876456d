"""Check what runs need, and say what to do about what is missing."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.errors import ConfigError, ExitCode, RunnerError

if TYPE_CHECKING:
    from runner.cli.checks import Finding
    from runner.cli.workplace import Workplace

EXAMPLES = """
runner doctor
runner doctor --offline     leave out the package registries
runner doctor --json
"""


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to check and how to show it."""
    parser.add_argument("--offline", action="store_true", help="do not ask package registries")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(args: Namespace, console: Console) -> int:
    """Check everything, however much of it fails; exit with the code of the worst finding, the engine's first."""
    findings: list[Finding] = []
    for finding in _findings(args):
        findings.append(finding)
        if not args.json:
            _show(console, finding)
    code = exit_code(findings)
    if args.json:
        console.json({"exit_code": int(code), "findings": [{**asdict(one), "code": int(one.code)} for one in findings]})
    return code


def exit_code(findings: Iterable[Finding]) -> ExitCode:
    """Return the engine's code if the engine cannot be used, else that of the first failure."""
    codes = [finding.code for finding in findings if finding.status == "fail"]
    return ExitCode.ENGINE if ExitCode.ENGINE in codes else next(iter(codes), ExitCode.PASSED)


def _show(console: Console, finding: Finding) -> None:
    tone = {"ok": "good", "warn": "warn", "fail": "bad"}[finding.status]
    console.painted([(f"{finding.status:<5}", tone), (f"{finding.name:<14}", "strong"), (finding.text, "")])
    if finding.hint and finding.status != "ok":
        console.painted([(" " * 19, ""), (f"-> {finding.hint}", "strong")])


def _findings(args: Namespace) -> Iterator[Finding]:
    from runner.cli import checks
    from runner.cli.workplace import cache_folder

    environment = args.environment
    yield checks.user_finding(environment)
    yield from _engine(args)
    yield checks.site_finding(environment)
    cache = cache_folder(environment)
    yield checks.writable_finding("cache", cache)
    yield checks.disk_finding("cache disk", cache)
    yield from _project(args)
    yield from checks.network_findings(environment)
    if not args.offline:
        yield from checks.registry_findings(environment)


def _engine(args: Namespace) -> Iterator[Finding]:
    from runner.cli import checks
    from runner.engine.docker import connect

    try:
        with connect(args.environment) as engine:
            info = engine.info()
    except RunnerError as error:
        yield checks.failed("engine", error)
        return
    yield from checks.engine_findings(info)
    if Path(info.root_dir).is_dir():
        yield checks.disk_finding("engine disk", Path(info.root_dir))


def _debian(workplace: Workplace) -> Iterator[Finding]:
    """Check that the base image's packages can be had, if the project has a base of packages."""
    from runner.cli import checks
    from runner.images.recipe import BASE, load

    try:
        system = load(workplace.project.images, BASE).system
    except ConfigError as error:
        yield checks.failed("base image", error)
        return
    if system is not None:
        yield checks.debian_finding(system, workplace.environment)


def _project(args: Namespace) -> Iterator[Finding]:
    """Check the default experiment as `go` would read it, its output folder and its model's key."""
    from runner.cli import checks
    from runner.cli.gateway_stage import require_prices
    from runner.cli.workplace import open_workplace
    from runner.gateway.settings import resolve_key
    from runner.spec.load import load_all
    from runner.spec.overrides import Overrides

    try:
        workplace = open_workplace(args)
        loaded = load_all(workplace.project, None, Overrides(), workplace.environment)
    except ConfigError as error:
        yield checks.failed("project", error)
        return
    experiment = loaded.experiment.value
    yield checks.Finding(name="project", status="ok", text=f"{workplace.project.root}: experiment {experiment.name}")
    output = workplace.project.output(experiment.output)
    yield from _debian(workplace)
    yield checks.writable_finding("output", output)
    yield checks.disk_finding("output disk", output)
    try:
        require_prices(workplace, loaded)
    except ConfigError as error:
        yield checks.failed("prices", error)
    try:
        if experiment.model is not None:
            resolve_key(experiment.model, workplace.environment, project=workplace.project.root)
    except ConfigError as error:
        yield checks.failed("model", error)
        return
    yield checks.model_finding(experiment.model)
