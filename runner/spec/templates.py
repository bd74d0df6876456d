"""Texts with values in them, and conditions: Jinja in a sandbox, where an undefined name is an error.

A text knows nothing but the values it is given. There are no files to include, nothing that is different from one time
to the next (no random numbers), and no way to alter a value or to reach behind it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from runner.errors import ConfigError
from runner.spec.complaints import choose_from

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.runtime import Context
    from jinja2.sandbox import SandboxedEnvironment

T = TypeVar("T")
Reference = tuple[str, ...]
"""A name and what is asked of it: `steps['a.1'].outcome` is ("steps", "a.1", "outcome")."""

_FUNCTIONS = frozenset({"range", "dict", "namespace"})
"""What Jinja offers by itself and stays; `lipsum` would be another text each time."""
_LARGEST = 1024**2
"""Most characters, items or bits of a product or a power."""
_PYTHON = (ArithmeticError, TypeError, ValueError, LookupError, AttributeError, RecursionError)
"""What an operation on a value that does not fit raises besides Jinja's own errors."""


class TemplateError(ConfigError):
    """A template or a condition cannot be read, or cannot be carried out with the values there are."""


def render(text: str, values: Mapping[str, object]) -> str:
    """Return a template's text with the values in it; lists, mappings, true, false and null are written as JSON.

    Args:
        text: the template, in Jinja's syntax.
        values: what it may use, by name.

    Raises:
        TemplateError: with a sentence that names what is undefined, and the nearest name there is.
    """
    _require_known(names_in(text), values)
    return _carried_out(lambda: _environment().from_string(text).render(values))


def holds(expression: str, values: Mapping[str, object]) -> bool:
    """Tell whether a condition holds.

    Args:
        expression: a Jinja expression, without braces around it.
        values: what it may use, by name.

    Raises:
        TemplateError: if it cannot be read, uses what is undefined, or is neither true nor false.
    """
    _require_known({reference[0] for reference in references_in(expression)}, values)
    found = _carried_out(lambda: _environment().compile_expression(expression, undefined_to_none=False)(**values))
    # An undefined value says so only when it is looked at, and true and false are all that a condition can be.
    shown = _carried_out(lambda: found if isinstance(found, bool) else str(found))
    if isinstance(shown, bool):
        return shown
    raise TemplateError(
        f"the condition `{expression}` is {shown[:60]!r}, neither true nor false",
        hint="compare it with something, like inputs.answer == 'yes'",
    )


def names_in(text: str) -> frozenset[str]:
    """Return the names that a template expects to be given.

    Raises:
        TemplateError: if it cannot be read.
    """
    from jinja2 import meta

    environment = _environment()
    return frozenset(_carried_out(lambda: meta.find_undeclared_variables(environment.parse(text)))) - _FUNCTIONS


def references_in(expression: str) -> tuple[Reference, ...]:
    """Return everything that a condition refers to, in order, each as far as it is written out.

    Raises:
        TemplateError: if it cannot be read.
    """
    tree = _parsed(expression)
    return tuple(dict.fromkeys(one for one in _references(tree) if one[0] not in _FUNCTIONS))


def renamed(expression: str, names: Mapping[Reference, Reference]) -> str:
    """Return a condition with other names in it, everything else as it was written.

    Args:
        expression: a condition that can be read.
        names: what a name, or a name with its first part, like ("steps", "a"), is to become: always such a pair.
    """
    tokens = [(kind, text) for _, kind, text in _environment().lex("{{" + expression + "}}")][1:-1]
    parts: list[str] = []
    at = 0
    while at < len(tokens):
        after, found = _reference_at(tokens, at)
        for length in (2, 1):
            if found[:length] in names and after[length - 1]:
                first, second = names[found[:length]]
                parts.append(f"{first}[{second!r}]")
                at = after[length - 1]
                break
        else:
            parts.append(tokens[at][1])
            at += 1
    return "".join(parts).strip()


def _reference_at(tokens: list[tuple[str, str]], at: int) -> tuple[tuple[int, int], Reference]:
    """Return the `a`, `a.b` or `a['b']` that begins at a token, and the number of the token after one part and after two.

    Zero stands for a part that is not there.
    """
    before = [text for kind, text in tokens[:at] if kind != "whitespace"][-1:]
    if tokens[at][0] != "name" or before == ["."]:
        return (0, 0), ()
    solid = [(number, kind, text) for number, (kind, text) in enumerate(tokens[at:], at) if kind != "whitespace"]
    match solid[:4]:
        case [(_, _, first), (_, _, "."), (last, "name", second), *_]:
            return (at + 1, last + 1), (first, second)
        case [(_, _, first), (_, _, "["), (_, "string", second), (last, _, "]")]:
            return (at + 1, last + 1), (first, second[1:-1])
        case _:
            return (at + 1, 0), (tokens[at][1],)


def _parsed(expression: str) -> nodes.Expr:
    from jinja2.parser import Parser

    def parse() -> nodes.Expr:
        parser = Parser(_environment(), expression, state="variable")
        tree = parser.parse_expression()
        if not parser.stream.eos:
            parser.fail(f"`{parser.stream.current.value}` does not belong here")
        return tree

    return _carried_out(parse)


def _references(node: nodes.Node) -> Iterator[Reference]:
    chain = _chain(node)
    if chain:
        yield chain
    else:
        for child in node.iter_child_nodes():
            yield from _references(child)


def _chain(node: nodes.Node) -> Reference:
    """Return a name with the attributes and fixed keys behind it; empty for anything else."""
    from jinja2 import nodes

    match node:
        case nodes.Name():
            return (node.name,)
        case nodes.Getattr():
            before = _chain(node.node)
            return (*before, node.attr) if before else ()
        case nodes.Getitem(arg=nodes.Const(value=key)):
            before = _chain(node.node)
            return (*before, str(key)) if before else ()
        case _:
            return ()


def _require_known(names: frozenset[str] | set[str], values: Mapping[str, object]) -> None:
    for name in sorted(names - values.keys()):
        raise TemplateError(f"`{name}` is undefined", hint=choose_from(name, values))


def _carried_out(deed: Callable[[], T]) -> T:
    """Return what a deed of Jinja returns, and turn what it raises into one sentence."""
    from jinja2 import TemplateError as JinjaError
    from jinja2 import TemplateNotFound, TemplateSyntaxError

    try:
        return deed()
    except TemplateSyntaxError as error:
        line = f"line {error.lineno}: " if error.lineno > 1 else ""
        raise TemplateError(f"it cannot be read: {line}{error.message}", hint="the syntax is Jinja's") from None
    except TemplateNotFound as error:
        raise TemplateError(f"the text uses another template, `{error.name}`, and there is none") from None
    except JinjaError as error:
        raise TemplateError(f"it cannot be carried out: {error.message}") from None
    except _PYTHON as error:
        raise TemplateError(f"it cannot be carried out: {type(error).__name__}: {error}") from None


def _written(value: object) -> object:
    """Return how a value stands in a text: what JSON writes otherwise than Python, as JSON."""
    if value is None or isinstance(value, (bool, dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False)
    return value


def _size_of(operator: str, left: object, right: object) -> int:
    """Return about how many characters, items or bits a product or a power of two values has; 0 if it is small anyway."""
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() * max(right, 0) if operator == "**" else left.bit_length() + right.bit_length()
    # Text and lists are repeated with the number on either side.
    for many, times in ((left, right), (right, left)):
        if isinstance(many, (str, bytes, list, tuple)) and isinstance(times, int):
            return len(many) * max(times, 0)
    return 0


@functools.cache
def _environment() -> SandboxedEnvironment:
    # Imported on first use: a command that needs no template does not wait for it.
    from jinja2 import DictLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Bounded(ImmutableSandboxedEnvironment):
        """Refuses products and powers that would fill the memory, or never be done; no other way to differ is offered."""

        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
            if _size_of(operator, left, right) > _LARGEST:
                raise OverflowError(f"the result of `{operator}` would be too large")
            return super().call_binop(context, operator, left, right)

    environment = Bounded(
        undefined=StrictUndefined,
        autoescape=False,  # what is made is a prompt or a message, no page
        keep_trailing_newline=True,
        finalize=_written,
        loader=DictLoader({}),
    )
    environment.globals = {name: value for name, value in environment.globals.items() if name in _FUNCTIONS}
    del environment.filters["random"]
    return environment
