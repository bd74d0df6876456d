"""Read and write YAML; the only module that knows the library.

Read is YAML with the core schema's plain values: text, whole numbers, decimal numbers with a point, true, false, null.
`yes`, `on`, `010`, `12:30` and dates are text. Keys are always text. Anchors and `<<` merges work; tags do not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from runner.errors import ConfigError
from runner.spec.complaints import Complaint, SpecError
from runner.spec.located import KeyPath, Located

__all__ = ["Located", "dump", "load_yaml", "parse_yaml"]

_MAX_BYTES = 32 * 1024**2
_MAX_VALUES = 500_000
"""A file may not unfold into more values than this: aliases of aliases grow exponentially."""
_MAX_DEPTH = 50
_CORE = "tag:yaml.org,2002:"
_MERGE = f"{_CORE}merge"
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Complement of c-printable, YAML 1.2.2, production 1."""

_MAX_MERGES = 10_000
_MAX_DIGITS = 400
"""No number of ours is longer, and Python refuses to read one of thousands. One that is too large stays text."""

_PLAIN = (
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")),
    ("int", re.compile(r"[-+]?(0|[1-9][0-9]*)"), list("-+0123456789")),
    ("float", re.compile(r"([-+]?[0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?"), list("-+.0123456789")),
    ("merge", re.compile(r"<<"), ["<"]),
)

_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: type[Any] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _CoreLoader(_Loader):  # type: ignore[misc]  # the library's loader is one of two, chosen at import
    """Resolves plain scalars by _PLAIN and nothing else."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # the library's own attribute, replaced, not shared


class _BlockDumper(_Dumper):  # type: ignore[misc]  # as above
    """Writes text of several lines as literal blocks."""


def _represent_text(dumper: Any, text: str) -> Any:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar(f"{_CORE}str", text, style=style)


for _name, _pattern, _first in _PLAIN:
    _CoreLoader.add_implicit_resolver(f"{_CORE}{_name}", re.compile(rf"(?:{_pattern.pattern})$"), _first)
_BlockDumper.add_representer(str, _represent_text)


def dump(value: object, *, compact: bool = False) -> str:
    """Return YAML text of plain values, keys in the order given.

    Args:
        value: mappings, sequences, text, numbers, booleans and None.
        compact: write each innermost mapping or sequence on one line, for lists that should give readable diffs.
    """
    text = yaml.dump(
        value,
        Dumper=_BlockDumper,
        sort_keys=False,
        allow_unicode=True,
        width=1_000_000,
        default_flow_style=None if compact else False,
    )
    return str(text)


def load_yaml(path: Path, *, root: Path | None = None) -> Located:
    """Read a YAML file into plain values that know where they stand.

    Args:
        path: the file.
        root: folder that shown names are relative to, if the file is below it; by default names are shown as given.

    Raises:
        ConfigError: if it cannot be read, is no UTF-8, is empty, is no YAML or repeats a key; with file and line.
    """
    shown = str(path.relative_to(root)) if root is not None and path.is_relative_to(root) else str(path)
    return parse_yaml(_decode(_read(path, shown), shown), shown, path)


def parse_yaml(text: str, shown: str, path: Path | None = None) -> Located:
    """Read YAML text; `shown` is the name in messages. Raises as `load_yaml`."""
    bad = _UNPRINTABLE.search(text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        raise ConfigError(
            f"the character {bad[0]!r} may not stand in YAML",
            where=f"{shown}:{line}",
            hint='remove it, or write it as an escape in double quotes, like "\\x07"',
        )
    try:
        node = yaml.compose(text, Loader=_CoreLoader)
    except yaml.MarkedYAMLError as error:
        raise _broken(error, text, shown) from error
    except RecursionError as error:
        raise ConfigError("is nested too deeply", where=shown, hint="flatten it") from error
    if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
        raise ConfigError("the file is empty", where=f"{shown}:1", hint="write it, or remove it")
    return _Walk(shown).located(node, path or Path(shown))


def _read(path: Path, shown: str) -> bytes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"the file is larger than {_MAX_BYTES // 1024**2} MiB", where=shown, hint="split it")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=shown, hint="check name and rights") from error


def _decode(data: bytes, shown: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        offending = data.split(b"\n")[line - 1].decode("utf-8", "backslashreplace").strip()
        raise ConfigError(
            f"the byte 0x{data[error.start]:02x} is not UTF-8",
            where=f"{shown}:{line}",
            why=f"the line is: {offending}",
            hint=f"save the file as UTF-8, for example: iconv -f latin1 -t utf-8 {shown}",
        ) from error


def _broken(error: yaml.MarkedYAMLError, text: str, shown: str) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    number = mark.line + 1 if mark else 1
    lines = text.split("\n")
    line = lines[number - 1] if number <= len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        what, hint = "a tab indents this line", "indent with spaces"
    else:
        context = f" {error.context}" if error.context else ""
        if error.context_mark and error.context_mark.line + 1 < number:
            context += f" that begins in line {error.context_mark.line + 1}"
        what, hint = f"broken YAML{context}: {error.problem}", "look at this line and the one above it"
    why = f"the line is: {line.strip()}" if line.strip() else "the file ends here" if number >= len(lines) else ""
    return ConfigError(what, where=f"{shown}:{number}", why=why, hint=hint)


class _Walk:
    """Turns one file's nodes into plain values and notes the line and the text of each."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        self.lines: dict[KeyPath, int] = {}
        self.texts: dict[KeyPath, str] = {}
        self.complaints: list[Complaint] = []
        self.merges = 0

    def located(self, node: yaml.Node, path: Path) -> Located:
        value = self.value(node, (), node.start_mark.line + 1)
        if self.complaints:
            raise SpecError(self.complaints)
        return Located(value=value, path=path, shown=self.shown, lines=self.lines, texts=self.texts)

    def value(self, node: yaml.Node, path: KeyPath, line: int) -> object:
        self.lines[path] = line
        if len(self.lines) > _MAX_VALUES or len(path) > _MAX_DEPTH:
            raise self.too_much(node)
        kind = node.tag.removeprefix(_CORE)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.value(item, (*path, i), item.start_mark.line + 1) for i, item in enumerate(node.value)]
        if not isinstance(node, yaml.ScalarNode) or not _fits(kind, node.value):
            hint = "write a plain value"
            self.complain(node.start_mark.line + 1, f"the tag {node.tag} does not stand for this", hint=hint)
            return None
        self.texts[path] = node.value
        return _scalar(kind, node.value)

    def too_much(self, node: yaml.Node) -> ConfigError:
        return ConfigError(
            "unfolds into too many or too deeply nested values",
            where=f"{self.shown}:{node.start_mark.line + 1}",
            why=f"at most {_MAX_VALUES} values, {_MAX_DEPTH} deep; an alias inside its own anchor never ends",
            hint="write the values out",
        )

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        own: dict[str, tuple[yaml.Node, int]] = {}
        for key, value in self.pairs(node):
            number = key.start_mark.line + 1
            if key.value in own:
                first = own[key.value][1]
                why = f"the first is in line {first}"
                self.complain(number, f"the key `{key.value}` stands here again", why=why, hint="keep one of them")
            else:
                own[key.value] = (value, number)
        merged = self.merged(node)
        return {key: self.value(value, (*path, key), number) for key, (value, number) in (merged | own).items()}

    def merged(self, node: yaml.MappingNode, depth: int = 0) -> dict[str, tuple[yaml.Node, int]]:
        """Return what `<<` brings in, earlier sources winning; what the mapping says itself wins over all."""
        self.merges += 1
        if self.merges > _MAX_MERGES or depth > _MAX_DEPTH:
            raise self.too_much(node)
        found: dict[str, tuple[yaml.Node, int]] = {}
        for key, value in node.value:
            if key.tag != _MERGE:
                continue
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(source, yaml.MappingNode):
                    self.complain(key.start_mark.line + 1, "`<<` wants the alias of a mapping")
                    continue
                inner = {one.value: (two, one.start_mark.line + 1) for one, two in self.pairs(source)}
                found = self.merged(source, depth + 1) | inner | found
        return found

    def pairs(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.complain(key.start_mark.line + 1, "a key must be text")
            elif key.tag != _MERGE:
                yield key, value

    def complain(self, line: int, what: str, *, why: str = "", hint: str = "") -> None:
        self.complaints.append(Complaint(what=what, where=f"{self.shown}:{line}", why=why, hint=hint))


def _fits(kind: str, text: str) -> bool:
    """Tell whether a scalar's tag is one of ours, and its text of that kind: a tag can be written by hand."""
    return kind == "str" or any(kind == name and pattern.fullmatch(text) for name, pattern, _ in _PLAIN)


def _scalar(kind: str, text: str) -> object:
    match kind:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int" if len(text) < _MAX_DIGITS:
            return int(text)
        case "float" if math.isfinite(float(text)):
            return float(text)
        case _:
            return text
