"""Read off a Python module's source what it is for; nothing of it is run."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FRAMEWORKS = {"FastAPI": "fastapi", "Starlette": "starlette", "Flask": "flask"}
"""Classes whose instances are applications, and the kind of each."""
_SERVING = frozenset({"run", "serve", "run_app", "serve_forever", "run_simple", "listen"})
"""Names of functions that serve until they are ended."""
_HARMLESS = frozenset({"print", "info", "basicConfig", "getenv", "get", "int", "str", "bool", "lower", "getLogger"})
_SERVERS = frozenset({"HTTPServer", "ThreadingHTTPServer", "TCPServer", "run_app", "make_server", "WSGIServer"})


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a module's source says."""

    instances: tuple[tuple[str, str], ...] = ()
    """Applications at module level: name and kind."""
    factories: tuple[tuple[str, str], ...] = ()
    """Functions that make one without being given anything: name and kind."""
    made: tuple[tuple[str, str], ...] = ()
    """Names at module level that a call of another module's function gives: name and function."""
    guard: str = ""
    """What it does as a program: empty for nothing, `serves`, or `prepares` if it does more than serve."""
    imports: tuple[str, ...] = ()
    """Top names of what it imports absolutely."""
    relative: bool = False
    """Whether it imports from its own package by dots."""
    streamlit: bool = False
    server: bool = False
    """Whether it makes an HTTP server of the standard library or of aiohttp."""


def parse(source: str) -> ast.Module | None:
    """Parse a module; None if it is no Python."""
    try:
        with warnings.catch_warnings():
            # A generated file's odd escapes are not this program's to warn of.
            warnings.simplefilter("ignore")
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def fault(source: str) -> tuple[int | None, str]:
    """Return the line of what is no Python in a source, and what is wrong with it; None and nothing if all is well."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except SyntaxError as error:
        return error.lineno, f"{error.msg} (line {error.lineno})"
    except (ValueError, RecursionError, MemoryError) as error:
        return None, str(error) or type(error).__name__
    return None, ""


def examine(tree: ast.Module) -> Facts:
    """Say what a module is for."""
    top = list(_flat(tree.body))
    imported = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = [alias.name for node in imported if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in imported if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    functions = [node for node in top if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    factories = tuple((one.name, kind) for one in functions if (kind := _factory(one)))
    instances, made = _assigned(top, dict(factories))
    tops = tuple(dict.fromkeys(name.partition(".")[0] for name in names))
    return Facts(
        instances=instances,
        factories=factories,
        made=made,
        guard=_guard(top, {one.name: one for one in functions}),
        imports=tops,
        relative=any(isinstance(node, ast.ImportFrom) and node.level for node in imported),
        streamlit="streamlit" in tops,
        server=any(_name(node.func) in _SERVERS for node in ast.walk(tree) if isinstance(node, ast.Call)),
    )


def _flat(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements of a module's top level, those within try, if and with among them."""
    for node in body:
        yield node
        if isinstance(node, (ast.Try, ast.If, ast.With)) and not _is_guard(node):
            yield from _flat(node.body)


def _assigned(top: Sequence[ast.stmt], factories: dict[str, str]) -> tuple[tuple[tuple[str, str], ...], ...]:
    instances, made = [], []
    for node in top:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        if not isinstance(value, ast.Call):
            continue
        function = _name(value.func)
        kind = FRAMEWORKS.get(function) or factories.get(function)
        for target in targets:
            if isinstance(target, ast.Name) and kind:
                instances.append((target.id, kind))
            elif isinstance(target, ast.Name) and function:
                made.append((target.id, function))
    return tuple(instances), tuple(made)


def _factory(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return the kind of application that a function makes and returns, if it needs no argument for it."""
    arguments = function.args
    given = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    if given or not any(isinstance(node, ast.Return) and node.value for node in ast.walk(function)):
        return ""
    calls = [_name(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)]
    return next((FRAMEWORKS[name] for name in calls if name in FRAMEWORKS), "")


def _guard(top: Sequence[ast.stmt], functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef]) -> str:
    """Tell what stands below `if __name__ == "__main__":`; a function called there is looked into, too."""
    for node in top:
        if isinstance(node, ast.If) and _is_guard(node):
            calls = list(_calls(node.body))
            within = [functions[name] for name in calls if name in functions]
            serves = bool(_SERVING & set(calls)) or any(_SERVING & set(_calls(one.body)) for one in within)
            more = [name for name in calls if name not in _SERVING | _HARMLESS]
            return ("prepares" if more else "serves") if serves else ""
    return ""


def _is_guard(node: ast.stmt) -> bool:
    if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
        return False
    return any(isinstance(one, ast.Name) and one.id == "__name__" for one in ast.walk(node.test))


def _calls(body: Sequence[ast.stmt]) -> Iterator[str]:
    for node in body:
        for one in ast.walk(node):
            if isinstance(one, ast.Call):
                yield _name(one.func)


def _name(node: ast.expr) -> str:
    """Return the last part of a dotted name."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute():
            return node.attr
        case _:
            return ""
