"""A checked value together with where each part of it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel

from runner.spec.located import KeyPath, Located
from runner.spec.models import LimitsPatch
from runner.spec.scenario import Step, WorkspaceStart

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Loaded(Generic[T]):
    """What a file says, after environment and flags."""

    value: T
    file: Path
    sources: Mapping[str, str]
    """Dotted key to where its value comes from: `config/experiments/default.yaml:12`, `default`, `flag --jobs`,
    `environment RUNNER_JOBS`. Steps stand under their ids: `steps.login.prompt`."""
    located: Located
    """The plain values, for messages about a single item."""
    notes: tuple[str, ...] = ()
    """What is allowed and yet looks unintended, a sentence each."""


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One key of a loaded value: what it is and where that comes from."""

    key: str
    value: str
    """As JSON."""
    source: str


def explain(loaded: Loaded[T]) -> tuple[Explained, ...]:
    """Return every key of a loaded value, in the order of the reference; of a step, what it says or has by default."""
    return tuple(
        Explained(key=key, value=json.dumps(value, ensure_ascii=False), source=loaded.sources[key])
        for key, value, _ in _leaves(loaded.value, (), ())
    )


def sources_of(value: BaseModel, located: Located) -> dict[str, str]:
    """Return the source of each dotted key of a value that was made from located plain values."""
    return {
        key: located.where(path) if _is_written(located, path) else "default" for key, _, path in _leaves(value, (), ())
    }


def _is_written(located: Located, path: KeyPath) -> bool:
    return located.holds(path) or any(path[:length] in located.origins for length in range(1, len(path)))


def _leaves(value: BaseModel, names: tuple[str, ...], path: KeyPath) -> Iterator[tuple[str, object, KeyPath]]:
    """Yield (dotted key, plain value, path in the file) of every setting; an absent patch sets nothing."""
    for name in type(value).model_fields:
        inner = getattr(value, name)
        if isinstance(value, WorkspaceStart) and name == "content":
            # A bundle, which says nothing to a reader.
            continue
        if isinstance(inner, BaseModel):
            yield from _leaves(inner, (*names, name), (*path, name))
        elif name == "steps" and isinstance(inner, tuple):
            for position, step in enumerate(inner):
                yield from _leaves(step, (*names, name, step.id), (*path, name, position))
        elif inner is not None or not isinstance(value, LimitsPatch):
            if isinstance(value, Step) and inner in (None, (), {}) and name not in value.model_fields_set:
                # Most of what a step may say, most steps do not.
                continue
            plain = value.model_dump(mode="json", include={name})[name]
            yield ".".join((*names, name)), plain, (*path, name)
