"""What the environment and the flags of a command replace in an experiment, in the documented order.

Built-in default, then the experiment's file, then the environment, then flags: a later one replaces an earlier one.
Frameworks and scenarios are narrowed, not replaced: what is named must be in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from runner.spec.complaints import Complaint, choose_from, raise_if_any
from runner.spec.located import KeyPath, Located
from runner.spec.model import Model

VARIABLES = {
    "RUNNER_FRAMEWORKS": "frameworks",
    "RUNNER_SCENARIOS": "scenarios",
    "RUNNER_REPETITIONS": "repetitions",
    "RUNNER_MODEL": "model",
    "RUNNER_JOBS": "jobs",
    "RUNNER_OUTPUT": "output",
    "RUNNER_SEED": "seed",
    "RUNNER_ARCHIVE": "archive",
}
"""Environment variables that replace an experiment's keys; the lists are separated by commas. An empty one counts as
absent."""

ENDPOINTS = {
    "openai": "OPENAI_BASE_URL",
    "anthropic": "ANTHROPIC_BASE_URL",
    "azure": "AZURE_OPENAI_ENDPOINT",
}
"""Variable that stands in for model.base_url, by provider, where the file names none."""

_FLAGS = {"frameworks": "--framework", "scenarios": "--scenario"}
_NARROWED = ("frameworks", "scenarios")


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """Flags of a command; what is None or empty was not given."""

    frameworks: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    repetitions: int | None = None
    model: str | None = None
    """`scripted` or `provider/name`, like openai/gpt-4o-mini."""
    jobs: int | None = None
    output: str | None = None
    seed: int | None = None
    archive: str | None = None
    replay: bool = False
    """Whether recorded calls answer, whoever answered then."""
    replay_mode: str | None = None


def apply_overrides(located: Located, overrides: Overrides, environment: Mapping[str, str]) -> Located:
    """Return an experiment's plain values with environment and flags applied, each with its origin.

    Raises:
        ConfigError: if a narrowing names what the file does not list, or a model is not `provider/name`.
    """
    if not isinstance(located.value, dict):
        return located
    given = _from_environment(environment) | _from_flags(overrides)
    value, origins = dict(located.value), dict(located.origins)
    complaints: list[Complaint] = []
    for key, (what, origin) in given.items():
        if key == "model":
            changed, complaint = _model(located.at(("model",)), str(what), origin)
            value["model"] = changed
            origins |= {("model", "provider"): origin, ("model", "name"): origin}
            complaints += [complaint] if complaint else []
        elif key in _NARROWED:
            listed, wanted = _texts(value.get(key)), _items(what)
            complaints += _strangers(key, listed, wanted, origin)
            kept = [number for number, name in enumerate(listed) if name in wanted]
            value[key] = [listed[number] for number in kept]
            origins |= {(key, new): located.where((key, old)) for new, old in enumerate(kept)} | {(key,): origin}
        else:
            value[key] = what
            origins[(key,)] = origin
    raise_if_any(complaints)
    _add_base_url(value, origins, environment)
    if overrides.replay:
        _add_replay(value, origins, overrides)
    return replace(located, value=value, origins=origins)


def _from_environment(environment: Mapping[str, str]) -> dict[str, tuple[object, str]]:
    return {key: (environment[name], f"environment {name}") for name, key in VARIABLES.items() if environment.get(name)}


def _from_flags(overrides: Overrides) -> dict[str, tuple[object, str]]:
    given = {key: getattr(overrides, key) for key in VARIABLES.values()}
    return {
        key: (value, f"flag {_FLAGS.get(key, '--' + key)}") for key, value in given.items() if value not in (None, ())
    }


def _items(what: object) -> Sequence[str]:
    return [item.strip() for item in what.split(",") if item.strip()] if isinstance(what, str) else list(_texts(what))


def _texts(what: object) -> Sequence[str]:
    return [str(item) for item in what] if isinstance(what, (list, tuple)) else []


def _strangers(key: str, listed: Sequence[str], wanted: Sequence[str], origin: str) -> list[Complaint]:
    return [
        Complaint(
            what=f"the experiment has no {key.removesuffix('s')} `{name}`",
            where=origin,
            hint=choose_from(name, listed),
        )
        for name in wanted
        if name not in listed
    ]


def _model(current: object, text: str, origin: str) -> tuple[object, Complaint | None]:
    """Return the model with provider and name replaced; its endpoint and key settings stay as the file has them."""
    provider, _, name = text.partition("/")
    providers = get_args(Model.model_fields["provider"].annotation)
    kept = dict(current) if isinstance(current, dict) else {}
    if text == "scripted":
        return kept | {"provider": "scripted", "name": "scripted"}, None
    if provider in providers and name:
        return kept | {"provider": provider, "name": name}, None
    why = "" if provider in providers else f"the providers are: {', '.join(providers)}"
    hint = "write scripted, or provider/name, like openai/gpt-4o-mini"
    return current, Complaint(what=f"`{text}` is no model", where=origin, why=why, hint=hint)


def _add_base_url(value: dict[str, object], origins: dict[KeyPath, str], environment: Mapping[str, str]) -> None:
    model = value.get("model")
    variable = ENDPOINTS.get(str(model.get("provider"))) if isinstance(model, dict) else None
    url = environment.get(variable) if variable else None
    if url and isinstance(model, dict) and not model.get("base_url"):
        value["model"] = model | {"base_url": url}
        origins["model", "base_url"] = f"environment {variable}"


def _add_replay(value: dict[str, object], origins: dict[KeyPath, str], overrides: Overrides) -> None:
    """Let recorded calls answer; the model keeps its name and everything else."""
    model = value.get("model")
    given = {"provider": "replay"} | ({"replay_mode": overrides.replay_mode} if overrides.replay_mode else {})
    value["model"] = (model if isinstance(model, dict) else {}) | given
    flags = {"provider": "--replay", "replay_mode": "--replay-mode"}
    origins |= {("model", key): f"flag {flags[key]}" for key in given}
