#!/usr/bin/env python3
"""Judge the parts by their source, without running them: what each has to define, and what it must not import."""

import ast
import pathlib
import sys

FUNCTIONS = {"create", "every", "find", "replace", "delete"}


def imported(tree: ast.Module) -> set[str]:
    """Return the packages that a module imports."""
    names = {one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in names}


def problems(part: str) -> list[str]:
    """Return what is wrong with one part."""
    tree = ast.parse(pathlib.Path(f"app/{part}.py").read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    missing = FUNCTIONS | {part.title(), f"{part.title()}In"}
    found = [f"app/{part}.py defines no {name}" for name in sorted(missing - defined)]
    return [*found, *([f"app/{part}.py imports fastapi"] if "fastapi" in imported(tree) else [])]


found = [problem for part in ("student", "course", "teacher") for problem in problems(part)]
sys.exit("\n".join(found) or 0)
