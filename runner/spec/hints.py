"""What to write instead of a value of the wrong shape: the same thing in the shape that is wanted, or an example."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from runner.spec.units import shorten
from runner.spec.yaml import dump

_MAIN = {
    "Approval": "message",
    "Cell": "framework",
    "Input": "value",
    "ModelCall": "prompt",
    "Output": "file",
    "Program": "script",
    "WorkspaceStart": "bundle",
}
"""Key that a single text means, where a mapping with it is wanted."""
_SHELL = re.compile(r"[|&;<>$`*?~#\n]")
"""Characters that a shell gives a meaning, and a list of arguments does not."""
_LONGEST = 60
"""Characters of a value that a hint repeats; a longer one is left to the person."""
_YES = {"on", "yes", "true"}


def list_hint(value: object, key: str, parents: Sequence[type[BaseModel]], inner: Sequence[type[BaseModel]]) -> str:
    """Return what to write where a list is wanted.

    Args:
        value: what stands there.
        key: its key.
        parents: models whose key it is.
        inner: models of the list's items; none if these are no mappings.
    """
    if inner:
        fields = inner[0].model_fields
        first = next((name for name, info in fields.items() if info.is_required()), next(iter(fields)))
        return f"write a list: each item begins with a dash, like `- {first}: ...`"
    if key == "command" and isinstance(value, str):
        return _command(value, script=any("script" in one.model_fields for one in parents))
    if value is None or isinstance(value, Mapping):
        return "write a list, like [a, b]"
    return f"write [{shorten(str(value))}]"


def mapping_hint(value: object, key: str, models: Sequence[type[BaseModel]]) -> str:
    """Return what to write where a mapping is wanted.

    Args:
        value: what stands there.
        key: its key; empty for an item of a list.
        models: what may stand there; none if any names may be its keys.
    """
    if not models:
        return "write names below it, each with a colon and a value"
    model = models[0]
    meant = _meant(value, model.__name__)
    before = f"{key}: " if key else ""
    if meant:
        return f"write {before}{dump(meant, compact=True).strip()}"
    if isinstance(value, list) and "items" in model.model_fields:
        return f"write {before}{{items: [...]}}"
    return f"its keys may be: {', '.join(model.model_fields)}"


def number_hint(info: FieldInfo | None, *, whole: bool) -> str:
    """Return an example of a number: the default of a key, the least it may be, or any."""
    default = info.default if info is not None else None
    example: object = 1 if whole else 0.5
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        example = default
    elif info is not None:
        example = next((one.ge for one in info.metadata if getattr(one, "ge", None)), example)
    return f"write a {'whole ' * whole}number, like {example}"


def choice_hint(value: str, info: FieldInfo | None) -> str:
    """Return what somebody means who switches on what has several ways of being on; empty for anybody else."""
    default = info.default if info is not None else None
    return f"by default it is `{default}`; " if value.lower() in _YES and isinstance(default, str) else ""


def _command(text: str, *, script: bool) -> str:
    """Return a command line as a list of arguments, unless only a shell understands it, or as a script."""
    try:
        words = [] if _SHELL.search(text) else shlex.split(text)
    except ValueError:
        words = []
    if len(text) > _LONGEST:
        words, text = [], "..."
    as_list = f"write {dump(words, compact=True).strip()}" if words else ""
    if not script:
        return as_list or "write a list: the program, then each of its arguments"
    as_script = dump({"script": text}).strip()
    return f"{as_list}, or {as_script}" if as_list else f"write {as_script}"


def _meant(value: object, model: str) -> Mapping[str, object]:
    """Return the mapping that a scalar stands for; empty if that is not known."""
    if isinstance(value, int) and not isinstance(value, bool) and model == "Retry":
        return {"attempts": value}
    if not isinstance(value, str) or not value or len(value) > _LONGEST or "\n" in value:
        return {}
    if model == "Model":
        return _model(value)
    if model == "Step":
        return {"id": "name", "prompt": value}
    return {_MAIN[model]: value} if model in _MAIN else {}


def _model(text: str) -> Mapping[str, object]:
    if text in {"scripted", "replay"}:
        return {"provider": text}
    provider, slash, name = text.partition("/")
    if slash and provider in {"openai", "anthropic", "azure"} and name:
        return {"provider": provider, "name": name}
    return {"provider": "anthropic" if text.startswith("claude") else "openai", "name": text}
