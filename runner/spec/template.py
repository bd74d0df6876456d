"""Text of a new experiment, commented, valid and ready to run."""

from __future__ import annotations

from collections.abc import Sequence

from runner.spec.models import Experiment, Limits
from runner.spec.units import show_bytes, show_seconds
from runner.spec.yaml import dump

_TEMPLATE = """\
# yaml-language-server: $schema=../schema/experiment.schema.json
#
#   runner plan {name}      see what it would run
#   runner go {name}        run it, or finish what is unfinished
#
# Lines that begin with `# ` and a key show built-in defaults; remove the mark to change one.

name: {name}
description: {description}

# Folders under images/ and files under config/scenarios/: each framework meets each scenario.
frameworks: {frameworks}
scenarios: {scenarios}

# How often each framework meets each scenario; every repetition has its own seed, the same for all frameworks.
repetitions: {repetitions}
# seed: {seed}

# Prepared answers, no key needed. For a real model: provider: openai, name: gpt-4o-mini, and the key in OPENAI_API_KEY;
# or once, on the command line: runner go {name} --model openai/gpt-4o-mini
model:
  provider: scripted

# Limits of each step's container; sizes with KiB, MiB, GiB, durations with s, m, h.
limits:
  step_timeout: {step_timeout}
  # run_timeout: {run_timeout}
  # cpus: {cpus:g}
  # memory: {memory}

{exclude}

# Containers at once; by default from the machine's cores and memory.
# jobs: 2
"""
_EXCLUDE = """\
# Leave out a part of the matrix; every key may be absent and then matches everything.
# exclude:
#   - framework: {framework}
#     scenario: {scenario}
#     repetition: 1"""
_UNANSWERED = "# What has no prepared answers is left out. With a real model nothing has to be: remove this.\nexclude:"


def experiment_text(
    name: str,
    frameworks: Sequence[str],
    scenarios: Sequence[str],
    *,
    repetitions: int = 1,
    description: str = "",
    exclude: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the text of a new experiment, for config/experiments/<name>.yaml.

    Args:
        name: name of the experiment.
        frameworks: at least one.
        scenarios: at least one.
        repetitions: how often each framework meets each scenario.
        description: what it is for, in a sentence.
        exclude: frameworks and scenarios for which there are no scripted answers.
    """
    limits = Limits()
    return _TEMPLATE.format(
        name=name,
        description=_inline(description or f"Compares {', '.join(frameworks)} on {', '.join(scenarios)}."),
        frameworks=_inline(list(frameworks)),
        scenarios=_inline(list(scenarios)),
        repetitions=repetitions,
        seed=Experiment.model_fields["seed"].default,
        step_timeout=show_seconds(limits.step_timeout),
        run_timeout=show_seconds(limits.run_timeout),
        cpus=limits.cpus,
        memory=show_bytes(limits.memory),
        exclude=_excluded(exclude) or _EXCLUDE.format(framework=frameworks[0], scenario=scenarios[0]),
    )


def _excluded(pairs: Sequence[tuple[str, str]]) -> str:
    """Return the lines that leave out some pairs; empty if there are none."""
    lines = [f"  - {{framework: {framework}, scenario: {scenario}}}" for framework, scenario in pairs]
    return "\n".join([_UNANSWERED, *lines]) if lines else ""


def _inline(value: object) -> str:
    """Return YAML of a value for one line, quoted where it must be."""
    return dump([value], compact=True).strip().removeprefix("- ") if isinstance(value, list) else _scalar(value)


def _scalar(value: object) -> str:
    return dump({"x": value}).removeprefix("x:").strip()
