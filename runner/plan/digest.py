"""Identity: canonical JSON, and the digest of everything that can change a run's result.

Canonical JSON is one text per value: keys sorted by code point, no spaces, UTF-8 without escapes for what JSON lets
stand, whole numbers in digits, floats as Python's shortest repr (`600.0`), no NaN or infinity.

A run's digest is made in two stages, so that the many repetitions of a cell share the long part:

    cell digest = sha256(canonical(cell_identity(...)))
    run digest  = sha256(canonical({"cell": cell digest, "repetition": n, "seed": s, "version": 1}))
                  (and "recording": digest of the calls, for a run that replays some)

Both are lower-case hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from runner.plan.models import Ancestry, PlannedStart, PlannedStep, Run
from runner.spec.egress import Packages
from runner.spec.model import Budgets, Model
from runner.spec.models import Framework, Limits

_VERSION = 1
"""Goes up when the meaning of a digest changes; every run is then a new one."""

_NOT_IDENTITY = frozenset({"title", "homepage", "license", "smoke_test", "limits", "role"})
"""Parts of a recipe that no step ever sees; its limits are merged into each step's."""

_PLACED = frozenset(
    {"id", "index", "title", "prompt", "prompt_sha256", "expect_changes", "limits", "network", "allow", "image"}
)
"""Parts of a step that have a place of their own in its identity, or none."""
_LATER = {
    name: info.get_default(call_default_factory=True, validated_data={})
    for name, info in PlannedStep.model_fields.items()
    if name not in _PLACED
}
"""The other parts of a step, each with its default."""

_LATER_LIMITS = frozenset({"workspace", "state", "files", "gpus"})
"""Limits that came later: in a step's identity only where they are not at their default."""
_NO_STEPS_LIMITS = frozenset({"experiment_timeout"})
"""Limits that change no result: a run that is cut short by one is cancelled, and done again."""


def canonical(value: object) -> bytes:
    """Return canonical JSON of plain values: mappings with text keys, sequences, text, numbers, truth values, None.

    Raises:
        ValueError: for NaN or infinity.
        TypeError: for anything else that JSON does not have.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def sha256(data: bytes) -> str:
    """Return the sha256 of bytes, as hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def repetition_seed(experiment_seed: int, repetition: int) -> int:
    """Return the seed of a repetition, the same for every framework and scenario.

    It is the first four bytes, big-endian, of sha256 over the ASCII text `<experiment seed>:<repetition>`.
    """
    return int.from_bytes(hashlib.sha256(f"{experiment_seed}:{repetition}".encode("ascii")).digest()[:4], "big")


def cell_identity(
    *,
    framework: Framework,
    scenario: str,
    steps: Sequence[PlannedStep],
    image_id: str,
    model: Model | None,
    answers_sha256: str | None,
    platform: str,
    run_timeout: float,
    budgets: Budgets,
    packages: Packages | None,
    packages_sha256: str | None,
    parent: Ancestry | None = None,
    start: PlannedStart | None = None,
) -> dict[str, object]:
    """Return everything that can change the result of any repetition, as plain values.

    Not in it, for they cannot: paths, host, labels, parallelism, the archive's format, the output folder, the
    experiment's name, titles and other descriptions, and where the model's key comes from. A workspace to begin with
    counts by what it holds, not by whose it was.
    """
    begins = {"parent": parent.workspace_sha256} if parent is not None else {}
    if start is not None:
        begins = begins | {"start": f"{start.sha256} {start.ref} {start.commit}"}
    return begins | {
        "answers": answers_sha256,
        "budgets": budgets.model_dump(mode="json", exclude={"experiment"}),
        "framework": framework.model_dump(mode="json", exclude=set(_NOT_IDENTITY)),
        "image": image_id,
        "model": model_identity(model),
        "packages": _packages_identity(packages, packages_sha256),
        "platform": platform,
        "run_timeout": run_timeout,
        "scenario": scenario,
        "steps": [_step_identity(step) for step in steps],
    }


def _packages_identity(packages: Packages | None, sha256_of_folder: str | None) -> dict[str, object] | None:
    """Return what of packages can change a result: a folder is what is in it, wherever it lies."""
    if packages is None:
        return None
    if sha256_of_folder is not None:
        return {"folder_sha256": sha256_of_folder}
    return packages.model_dump(mode="json")


def model_identity(model: Model | None) -> dict[str, object] | None:
    """Return what of a model can change a result; a scripted model is its answers, which have their own hash.

    An endpoint counts: two of them may serve different models under one name.
    """
    if model is None:
        return None
    endpoint = model.base_url.rstrip("/") if model.base_url and model.provider not in {"scripted", "replay"} else None
    parts = model.model_dump(mode="json", include={"provider", "name", "api_version", "mismatch", "sampling"})
    mode = {"replay_mode": model.replay_mode} if model.provider == "replay" else {}
    return parts | mode | {"base_url": endpoint, "aliases": sorted(model.aliases)}


def cell_digest(identity: dict[str, object]) -> str:
    """Return the digest of a cell's identity."""
    return sha256(canonical(identity))


def run_digest(cell: str, repetition: int, seed: int, recording_sha256: str | None = None) -> str:
    """Return the digest of one repetition of a cell, given the cell's digest and that of the calls it replays."""
    identity = {"cell": cell, "repetition": repetition, "seed": seed, "version": _VERSION}
    return sha256(canonical(identity | ({"recording": recording_sha256} if recording_sha256 is not None else {})))


def digest_of(run: Run) -> str | None:
    """Return the digest a planned run ought to have, made anew from its parts; None if an image of it has no id.

    A record read from disk, or a run from another machine, is checked against its own digest with this.
    """
    if run.image.id is None or any(step.image is not None and step.image.id is None for step in run.steps):
        return None
    identity = cell_identity(
        framework=run.framework,
        scenario=run.scenario,
        steps=run.steps,
        image_id=run.image.id,
        model=run.model,
        answers_sha256=run.answers_sha256,
        platform=run.platform,
        run_timeout=run.run_timeout,
        budgets=run.budgets,
        packages=run.packages,
        packages_sha256=run.packages_sha256,
        parent=run.parent,
        start=run.start,
    )
    return run_digest(cell_digest(identity), run.repetition, run.seed, run.recording_sha256)


def _step_identity(step: PlannedStep) -> dict[str, object]:
    """Return what of a step can change a result.

    Parts that came later are there only where they are not at their default, so that what was planned before they
    existed has the digest that it had then.
    """
    given = {name for name, default in _LATER.items() if getattr(step, name) != default}
    later = step.model_dump(mode="json", include=given, exclude_defaults=True)
    image = {"image": step.image.id} if step.image is not None else {}
    return (
        later
        | image
        | {
            "expect_changes": step.expect_changes,
            "id": step.id,
            "index": step.index,
            "allow": list(step.allow),
            "limits": _limits_identity(step.limits),
            "network": step.network,
            "prompt": step.prompt_sha256,
        }
    )


def _limits_identity(limits: Limits) -> dict[str, object]:
    """Return what of a step's limits can change a result."""
    defaults = Limits()
    usual = {name for name in _LATER_LIMITS if getattr(limits, name) == getattr(defaults, name)}
    return limits.model_dump(mode="json", exclude=usual | _NO_STEPS_LIMITS)
