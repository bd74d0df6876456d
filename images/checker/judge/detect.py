"""Find how an application is started: by what its files say, never by importing them. The rules are numbered in order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from judge.asked import Start
from judge.facts import Facts, examine, parse
from judge.files import is_test, text, walk
from judge.roots import root_of

HOST = "127.0.0.1"
KINDS = ("fastapi", "starlette", "flask", "django", "node", "python", "streamlit")
"""In the order of preference among those that lie equally deep; Streamlit comes after all the others."""
_NUMBERS = {"fastapi": 1, "starlette": 2, "flask": 3}
_NAMES = ("main", "app", "server", "api", "run", "wsgi", "asgi", "manage", "index", "__init__")
_INSTANCES = ("app", "application", "api")
_FRONTENDS = re.compile(r"\b(?:react-scripts|vite|next|webpack|parcel|ng|vue-cli-service)\b")
_LISTENS = re.compile(r"\.listen\s*\(")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A way to start an application."""

    kind: str
    rule: str
    argv: tuple[str, ...]
    """`{port}` in it stands for the port."""
    folder: PurePosixPath
    """Where, relative to the workspace."""
    source: str = ""
    """File that it was found by."""
    told: bool = False
    """Whether the port is an argument, so that the application has no other choice."""
    prepare: tuple[tuple[str, ...], ...] = ()
    """Commands to run to their end before."""

    def command(self, port: int) -> tuple[str, ...]:
        """Return program and arguments for a port."""
        return tuple(part.replace("{port}", str(port)) for part in self.argv)


def declared(start: Start) -> Launch | None:
    """Rule 0: the command that the check names."""
    if start.command is None:
        return None
    told = any("{port}" in part for part in start.command)
    folder = PurePosixPath(start.folder)
    return Launch(kind="declared", rule="0 the check's command", argv=start.command, folder=folder, told=told)


def detect(workspace: Path) -> list[Launch]:
    """Find every way to start what lies in a workspace, the best first."""
    found: list[tuple[tuple[object, ...], Launch]] = []
    modules = list(_modules(workspace))
    makers = {name: kind for _, facts in modules for name, kind in facts.factories}
    for path, facts in modules:
        made = tuple((name, makers[function]) for name, function in facts.made if function in makers)
        known = replace(facts, instances=facts.instances + made)
        found += [(_rank(launch, path, factory=factory), launch) for launch, factory in _python(workspace, path, known)]
    for path in walk(workspace, "manage.py"):
        if path.name == "manage.py" and "DJANGO_SETTINGS_MODULE" in (text(workspace, path) or ""):
            launch = _django(path)
            found.append((_rank(launch, path), launch))
    found += [(_rank(launch, path), launch) for path, launch in _node(workspace)]
    return [launch for _, launch in sorted(found, key=lambda one: one[0])]


def _rank(launch: Launch, path: PurePosixPath, *, factory: bool = False) -> tuple[object, ...]:
    """Sort by: service before page; depth of the folder it is started in; kind; object before factory; name; path."""
    name = path.stem if path.stem in _NAMES else ""
    named = _NAMES.index(name) if name else len(_NAMES)
    depth = len(launch.folder.parts)
    page = launch.kind == "streamlit"
    return (page, depth, KINDS.index(launch.kind), factory, named, len(path.parts), str(path))


def _modules(workspace: Path) -> Iterator[tuple[PurePosixPath, Facts]]:
    for path in walk(workspace, ".py"):
        if is_test(path):
            continue
        source = text(workspace, path)
        tree = parse(source) if source is not None else None
        if tree is not None:
            yield path, examine(tree)


@dataclass(frozen=True, kw_only=True)
class _Module:
    """A module with what its source says, and where it is imported from."""

    path: PurePosixPath
    facts: Facts
    root: PurePosixPath
    name: str

    def script(self) -> tuple[str, ...]:
        """Return what runs it as a program, so that its own imports are found."""
        return ("python3", self.path.name) if self.path.parent == self.root else ("python3", "-m", self.name)

    def launch(self, kind: str, rule: str, argv: tuple[str, ...], *, told: bool = False) -> Launch:
        """Return a way to start it."""
        return Launch(kind=kind, rule=rule, argv=argv, folder=self.root, source=str(self.path), told=told)


def _python(workspace: Path, path: PurePosixPath, facts: Facts) -> Iterator[tuple[Launch, bool]]:
    """Apply rules 1 to 3, 6 and 7 to a module; the second value says whether a factory makes the application."""
    root, name = root_of(workspace, path, facts)
    module = _Module(path=path, facts=facts, root=root, name=name)
    instances = sorted(facts.instances, key=lambda one: (*_INSTANCES, one[0]).index(one[0]))
    targets = [(kind, target, False) for target, kind in instances] + [(k, n, True) for n, k in facts.factories]
    if targets:
        kind, target, factory = targets[0]
        yield _web(module, kind, target, factory=factory), factory
    elif facts.server and facts.guard:
        yield module.launch("python", "6 HTTP server of a program", module.script()), False
    elif facts.streamlit and "pages" not in path.parts:
        options = ("--server.headless", "true", "--browser.gatherUsageStats", "false", "--server.address", HOST)
        page = ("run", str(path.relative_to(root)), "--server.port", "{port}", *options)
        yield module.launch("streamlit", "7 Streamlit page", ("python3", "-m", "streamlit", *page), told=True), False


def _web(module: _Module, kind: str, target: str, *, factory: bool) -> Launch:
    """Serve an application object with its kind's own server, or run its module where that does more than serve."""
    guard, number = module.facts.guard, _NUMBERS[kind]
    if guard == "prepares" or (kind == "flask" and guard):
        does = "prepares and serves" if guard == "prepares" else "serves"
        return module.launch(kind, f"{number} {kind}, a program that {does}", module.script())
    at = f"{module.name}:{target}"
    rule = f"{number} {kind} {'factory' if factory else 'object'} {at}"
    if kind == "flask":
        argv = ("python3", "-m", "flask", "--app", at, "run", "--host", HOST, "--port", "{port}")
    else:
        options = ("--factory",) if factory else ()
        argv = ("python3", "-m", "uvicorn", at, "--host", HOST, "--port", "{port}", *options)
    return module.launch(kind, rule, argv, told=True)


def _django(path: PurePosixPath) -> Launch:
    manage = ("python3", "manage.py")
    return Launch(
        kind="django",
        rule="4 Django's manage.py",
        argv=(*manage, "runserver", f"{HOST}:{{port}}", "--noreload"),
        folder=path.parent,
        source=str(path),
        told=True,
        prepare=((*manage, "migrate", "--noinput", "--run-syncdb"),),
    )


def _node(workspace: Path) -> Iterator[tuple[PurePosixPath, Launch]]:
    """Apply rule 5: a start script, a main file, or a file that listens."""
    folders, started = set(), set()
    for path in walk(workspace, "package.json"):
        if path.name != "package.json":
            continue
        try:
            described = json.loads(text(workspace, path) or "")
            script = (described.get("scripts") or {}).get("start") or ""
            main = described.get("main") or ""
        except (ValueError, AttributeError):
            continue
        folders.add(path.parent)
        launch = None
        if isinstance(script, str) and script.strip() and not _FRONTENDS.search(script):
            launch = _node_launch("start script of package.json", ("sh", "-c", script), path)
        elif isinstance(main, str) and _listening(workspace, path.parent / main):
            launch = _node_launch("main file of package.json", ("node", main), path)
        if launch is not None:
            started.add(path.parent)
            yield path, launch
    for path in walk(workspace, ".js", ".mjs", ".cjs"):
        if path.stem in _NAMES and not is_test(path) and _listening(workspace, path):
            here = next((folder for folder in path.parents if folder in folders), path.parent)
            if here in started:
                continue
            argv = ("node", str(path.relative_to(here)))
            yield path, Launch(kind="node", rule="5 Node file that listens", argv=argv, folder=here, source=str(path))


def _node_launch(what: str, argv: tuple[str, ...], path: PurePosixPath) -> Launch:
    return Launch(kind="node", rule=f"5 Node: {what}", argv=argv, folder=path.parent, source=str(path))


def _listening(workspace: Path, path: PurePosixPath) -> bool:
    return bool(_LISTENS.search(text(workspace, path) or ""))
