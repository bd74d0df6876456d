"""Templates and conditions: what they may use, and what they may not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.spec.templates import TemplateError, holds, names_in, references_in, renamed, render


def test_values_stand_where_their_names_were() -> None:
    """Text stands as it is, everything else as JSON, and the text around it is kept to the last line end."""
    values = {"name": "Ada <&>", "items": [1, "é", None], "yes": True, "nothing": None, "size": 2.5}
    text = "{{ name }} {{ items }} {{ yes }} {{ nothing }} {{ size }}\n\n"
    assert render(text, values) == 'Ada <&> [1, "é", null] true null 2.5\n\n'


def test_lists_and_mappings_can_be_walked_through() -> None:
    """A template can do what Jinja's filters, loops and conditions can."""
    text = "{% for one in items if one.size > 1 %}{{ one.name | upper }} {% endfor %}{{ range(2) | list }}"
    assert render(text, {"items": [{"name": "a", "size": 1}, {"name": "b", "size": 2}]}) == "B [0, 1]"


@given(st.text(alphabet=st.characters(exclude_characters="{}\r", exclude_categories=["Cs"])))
def test_text_without_braces_is_kept(text: str) -> None:
    """A prompt that uses no value is what it was."""
    assert render(text, {}) == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_value_is_never_a_template(value: str) -> None:
    """What a step has given is put in as it is, whatever it looks like."""
    assert render("{{ value }}", {"value": value}) == value


def test_an_undefined_name_is_named_with_the_nearest() -> None:
    """A name that nobody gives is refused, even where it would not be looked at."""
    with pytest.raises(TemplateError) as caught:
        render("{% if false %}{{ colour }}{% endif %}", {"color": "red", "size": 1})
    assert str(caught.value) == "`colour` is undefined\ndid you mean `color`? choose from: color, size"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{{ item.size }}", "it cannot be carried out: 'dict object' has no attribute 'size'"),
        ("{{ 1 / 0 }}", "it cannot be carried out: ZeroDivisionError: division by zero"),
        ("{{ item + 1 }}", "it cannot be carried out: TypeError: unsupported operand"),
        ("one\ntwo {{ item", "it cannot be read: line 2: unexpected end of template"),
        ("{{ item | shout }}", "it cannot be read: No filter named 'shout'"),
        ("{% include 'other' %}", "the text uses another template, `other`, and there is none"),
    ],
)
def test_what_cannot_be_carried_out_is_one_sentence(text: str, sentence: str) -> None:
    """Whatever is wrong with a template, the error says so in a line."""
    with pytest.raises(TemplateError) as caught:
        render(text, {"item": {}})
    assert caught.value.what.startswith(sentence)


@pytest.mark.parametrize(
    "text",
    [
        "{{ item.__class__ }}",
        "{{ item.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__'] }}",
        "{{ item | attr('__class__') }}",
        "{{ '{0.__class__}'.format(item) }}",
        "{{ '{0.__class__}' | format(item) | attr('__class__') }}",
        "{{ range.__self__ }}",
        "{{ dict.mro() }}",
        "{{ self.__init__.__globals__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ ''.join.__func__ }}",
        "{% for one in range(1000000000) %}{% endfor %}",
        "{{ items.append(1) }}",
        "{{ items.clear() }}",
        "{{ item.update({'a': 1}) }}",
        "{{ lipsum() }}",
        "{{ items | random }}",
        "{{ cycler(1) }}",
        "{% import 'os' as os %}",
        "{% extends 'base' %}",
    ],
)
def test_nothing_leads_out_of_the_sandbox(text: str) -> None:
    """A template reaches nothing behind a value, alters none, and has nothing that differs from time to time."""
    values: dict[str, object] = {"item": {}, "items": [1, 2]}
    with pytest.raises(TemplateError):
        render(text, values)
    assert values == {"item": {}, "items": [1, 2]}


def test_names_of_a_template_are_those_it_is_to_be_given() -> None:
    """What a template sets or loops over itself is not asked for."""
    text = "{% set a = b %}{% for c in d %}{{ a }}{{ c }}{{ loop.index }}{{ range(e) }}{% endfor %}"
    assert names_in(text) == {"b", "d", "e"}


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("inputs.kind == 'web'", True),
        ("inputs['kind'] == 'cli'", False),
        ("steps['a.1'].outcome == 'passed' and number > 1", True),
        ("inputs.kind in ['web', 'cli']", True),
        ("inputs.names | length > 1", True),
        ("not (seed > 3)", True),
        ("true", True),
    ],
)
def test_conditions_hold_or_not(expression: str, *, found: bool) -> None:
    """A condition sees inputs, outcomes and numbers."""
    values = {
        "inputs": {"kind": "web", "names": ["a", "b"]},
        "steps": {"a.1": {"outcome": "passed"}},
        "number": 2,
        "seed": 3,
    }
    assert holds(expression, values) is found


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("inputs.kind", "the condition `inputs.kind` is 'web', neither true nor false"),
        ("1", "the condition `1` is '1', neither true nor false"),
        ("inputs.size", "it cannot be carried out: 'dict object' has no attribute 'size'"),
        ("inputs.size == 1", "it cannot be carried out: 'dict object' has no attribute 'size'"),
        ("steps.a.outcome == 'passed'", "`steps` is undefined"),
        ("inputs.kind ==", "it cannot be read: unexpected 'end of template'"),
        ("true }} {{ false", "it cannot be read: `}}` does not belong here"),
        ("inputs.kind 'web'", "it cannot be read: `web` does not belong here"),
    ],
)
def test_a_condition_that_says_neither_is_refused(expression: str, sentence: str) -> None:
    """A text is not taken for true: what a condition is about has to be compared."""
    with pytest.raises(TemplateError) as caught:
        holds(expression, {"inputs": {"kind": "web"}})
    assert caught.value.what == sentence


def test_references_are_as_long_as_they_are_written() -> None:
    """Attributes and fixed keys belong to a reference; a key that is worked out ends it and is one itself."""
    text = "steps['a.1'].outcome == 'passed' or inputs.x.y[0] > 3 and not item or steps[number].outcome in range(3)"
    assert references_in(text) == (
        ("steps", "a.1", "outcome"),
        ("inputs", "x", "y", "0"),
        ("item",),
        ("steps",),
        ("number",),
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("steps.a.outcome == 'passed'", "steps['w.a'].outcome == 'passed'"),
        ("steps [ 'a' ] .outcome", "steps['w.a'] .outcome"),
        ('steps["a"].outcome', "steps['w.a'].outcome"),
        ("inputs.steps.a == 'steps.a'", "inputs.steps.a == 'steps.a'"),
        ("steps.ab.outcome or steps.a.outcome", "steps.ab.outcome or steps['w.a'].outcome"),
        ("item > 1 and inputs.item", "inputs['one'] > 1 and inputs.item"),
        ("item.size and {'item': 1}", "inputs['one'].size and {'item': 1}"),
    ],
)
def test_names_are_replaced_and_nothing_else(before: str, after: str) -> None:
    """Renaming changes the names that are meant, and no text, attribute or longer name that looks like one."""
    assert renamed(before, {("steps", "a"): ("steps", "w.a"), ("item",): ("inputs", "one")}) == after


@pytest.mark.parametrize(
    "text",
    [
        "'a' * 10**9",
        "10 ** (10 ** 10)",
        "[1] * n",
        "n * 'ab'",
        "2 ** n",
        "n ** n ** n",
        "(2 ** 600000) * (2 ** 600000)",
    ],
)
def test_nothing_grows_without_bounds(text: str) -> None:
    """Products and powers that would fill the memory are refused at once, written out or of values that a step gave."""
    with pytest.raises(TemplateError, match=r"the result of `\*\*?` would be too large"):
        render("{{ " + text + " }}", {"n": 10**8})
    assert holds("3 * n == 300000000 and 2 ** 10 == 1024 and '-' * 3 == '---' and 1.5 * 2 == 3", {"n": 10**8})
