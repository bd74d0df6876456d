"""Judge whether each module can be imported, each in a process of its own."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from judge.environment import of_programs
from judge.facts import examine, fault, parse
from judge.files import is_test, text, walk
from judge.job import Job
from judge.missing import is_foreign, named
from judge.program import complete
from judge.report import Report
from judge.roots import dotted, package_root, root_of

_SECONDS = 30.0
"""That one import may take; a module that serves when it is imported never ends."""
_MOST = 500
_SETTINGS = "DJANGO_SETTINGS_MODULE"
_IMPORT = (
    "import importlib, os, sys\n"
    "sys.path.insert(0, os.getcwd())\n"
    f"if os.environ.get('{_SETTINGS}'):\n"
    "    import django\n"
    "    django.setup()\n"
    "importlib.import_module(sys.argv[1])\n"
)


def judge(job: Job) -> None:
    """Import every Python module that is no test, and let Node read every JavaScript file.

    Raises:
        OutOfTime: if the check's time is up.
    """
    workspace, report = job.workspace, job.report
    python = [path for path in walk(workspace, ".py") if not is_test(path)][:_MOST]
    scripts = [path for path in walk(workspace, ".js", ".mjs", ".cjs") if not is_test(path)][:_MOST]
    if not python and not scripts:
        report.expect("imports", "import")
        report.unjudged("imports", "there is neither Python nor JavaScript")
    for path in (*python, *scripts):
        report.expect(f"imports.{path}", "import")
    report.figures.update(modules=len(python) + len(scripts), modules_imported=0)
    env = of_programs(job.environment)
    django = _django_settings(workspace)
    for path in python:
        _python(job, path, {**env, **_under(django, path)})
    for path in scripts:
        code, said = complete(("node", "--check", str(path)), workspace, env, job.clock.share(_SECONDS))
        _say(path, code, said, report)


def _python(job: Job, path: PurePosixPath, env: dict[str, str]) -> None:
    """Import a module from each folder that its program may be started in, until one does."""
    workspace, report = job.workspace, job.report
    source = text(workspace, path)
    tree = parse(source) if source is not None else None
    if tree is None:
        report.failed(f"imports.{path}", f"it is no Python: {fault(source or '')[1] or 'it cannot be read'}")
        return
    best = root_of(workspace, path, examine(tree))[0]
    roots = dict.fromkeys((best, package_root(workspace, path), path.parent))
    code, said = None, ""
    first: tuple[int | None, str] | None = None
    for root in roots:
        name = dotted(path.relative_to(root))
        code, said = complete(("python3", "-c", _IMPORT, name), workspace / root, env, job.clock.share(_SECONDS))
        if code == 0:
            break
        first = first or (code, said)
    if code != 0 and first is not None:
        # What the likeliest folder gave says more than what the last one did.
        code, said = first
        module = named(said)
        if module is not None and is_foreign(workspace, module):
            report.find("judge", "missing-library", f"{module} is not in this image", file=str(path))
            report.unjudged(f"imports.{path}", f"it needs {module}, which this image does not have", log_tail=said)
            return
    _say(path, code, said, report)


def _say(path: PurePosixPath, code: int | None, said: str, report: Report) -> None:
    if code == 0:
        report.passed(f"imports.{path}")
        report.figures["modules_imported"] = (report.figures["modules_imported"] or 0) + 1
        return
    last = said.strip().splitlines()[-1] if said.strip() else "it said nothing"
    reason = f"it ended with exit code {code}: {last}" if code is not None else f"it did not end in time: {last}"
    report.failed(f"imports.{path}", reason, log_tail=said)


def _django_settings(workspace: Path) -> dict[PurePosixPath, str]:
    """Return the settings module that each manage.py names, by its folder."""
    found = {}
    for path in walk(workspace, "manage.py"):
        for line in (text(workspace, path) or "").splitlines():
            if _SETTINGS in line and path.name == "manage.py":
                parts = [part for part in line.replace('"', "'").split("'") if "." in part or part == "settings"]
                if parts:
                    found[path.parent] = parts[-1]
    return found


def _under(settings: dict[PurePosixPath, str], path: PurePosixPath) -> dict[str, str]:
    return next(({_SETTINGS: name} for folder, name in settings.items() if path.is_relative_to(folder)), {})
