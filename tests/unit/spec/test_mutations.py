"""What is written wrong in any way at all is refused with the line to mend, or can be planned: never a traceback."""

from __future__ import annotations

import copy
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ConfigError, NothingSelected
from runner.plan.check import check_graphs
from runner.plan.matrix import plan
from runner.plan.models import ImageRef, Run
from runner.spec.complaints import complaints_of
from runner.spec.load import Inputs, load_all
from runner.spec.overrides import Overrides
from runner.spec.project import Project
from runner.spec.scenario import CannedAnswer, ForEach, Input, ModelCall, Output, Program, Step
from runner.spec.yaml import dump, load_yaml

TESTS = Path(__file__).parents[2]
PROJECTS = (TESTS / "cases" / "base", TESTS / "projects" / "graph", TESTS / "projects" / "talk")
MANY = 130
"""Wrong files per project and seed; about half a second of work."""
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 10**30, -(10**30), 1.5, 1e308, "9" * 500, "1h", "-5s", "10 GiB"),
    *("", " ", "\n", "é", "\u202e", "😀", "nul\0", "a" * 300, "a/" * 3000, "../x", "/etc/passwd", "//", "."),
    *([], {}, [[]], [None], {"": 1}, {"a": None}, [1, 2, 3], "list", "file", "none", "shared", "read-only"),
    *("greeting", "names", "each", "part", "1", "a.1", "A B", "{step}", "{nope}", "{", "(?P<", "*"),
    *("inputs.x == 1", "steps.part.outcome", "steps['a.1']['outcome'] == 'failed'", "item > 1", "true", "1 // 0"),
    *("{{ x }}", "{% for %}", "{{ 1 | nope }}", "(" * 300, "steps", "''.__class__", "[1][5]", "10**10 > number"),
)
KEYS = sorted(
    {key for one in (Step, Input, Output, Program, ModelCall, ForEach, CannedAnswer) for key in one.model_fields}
)


def _paths(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield from _paths(value[key], (*path, key))  # type: ignore[index]  # one of its own keys


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def _deep(levels: int) -> object:
    value: object = "x"
    for level in range(levels):
        value = [value] if level % 2 else {"k": value}
    return value


def _mutated(value: Any, chance: random.Random) -> Any:
    """Return a file's values with one to three of them taken out, exchanged, doubled, or put where they do not belong."""
    value = copy.deepcopy(value)
    for _ in range(chance.choice((1, 1, 1, 2))):
        paths = list(_paths(value))
        if not paths:
            return value
        path = chance.choice(paths)
        holder, key = _at(value, path[:-1]), path[-1]
        match chance.randrange(6):
            case 0:
                del holder[key]
            case 1 | 2:
                holder[key] = copy.deepcopy(chance.choice(VALUES))
            case 3:
                alike = [one for one in paths if type(_at(value, one)) is type(holder[key])]
                holder[key] = copy.deepcopy(_at(value, chance.choice(alike)))
            case 4 if isinstance(holder, list):
                holder.insert(chance.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
            case 4:
                holder[chance.choice(KEYS)] = copy.deepcopy(chance.choice(VALUES))
            case _ if isinstance(holder[key], str):
                holder[key] = chance.choice([text for text in VALUES if isinstance(text, str)])
            case _:
                holder[key] = _deep(chance.choice((3, 30, 60)))
    return value


def _uses(experiment: Path, file: Path) -> bool:
    """Tell whether an experiment names a scenario; of anything else it may be true."""
    listed: Any = load_yaml(experiment).value
    return file.parent.name != "scenarios" or file.stem in listed["scenarios"]


def _planned(root: Path, experiment: Path, scenarios: tuple[str, ...] = ()) -> list[Run]:
    inputs: Inputs = load_all(Project(root), str(experiment), Overrides(scenarios=scenarios), {})
    check_graphs(inputs)
    found = plan(
        inputs.experiment.value,
        {name: one.value for name, one in inputs.frameworks.items()},
        {name: one.value for name, one in inputs.scenarios.items()},
        {name: ImageRef(tag=name, id=f"sha256:{'0' * 64}") for name in inputs.recipes},
        dict.fromkeys(inputs.answers, "0" * 64),
        platform="linux/amd64",
        workflows={name: one.value for name, one in inputs.workflows.items()},
    )
    return list(found[:3])


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("source", PROJECTS, ids=lambda path: path.name)
def test_whatever_is_written_is_planned_or_refused_with_its_line(source: Path, seed: int, tmp_path: Path) -> None:
    """Each changed file is planned into runs that can be written and read, or refused, every complaint with a line."""
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    experiments = sorted((tmp_path / "config" / "experiments").iterdir())
    assert all(_planned(tmp_path, one) for one in experiments)
    files = [*sorted((tmp_path / "config").rglob("*.yaml")), *sorted(tmp_path.rglob("framework.yaml"))]
    using = {file: [one for one in experiments if _uses(one, file)] or experiments for file in files}
    files = [file for file in files if _uses(using[file][0], file)]
    chance = random.Random(seed)
    for _ in range(MANY):
        file = chance.choice(files)
        before = file.read_bytes()
        file.write_text(dump(_mutated(load_yaml(file).value, chance)), encoding="utf-8")
        experiment = file if file in experiments else chance.choice(using[file])
        # The others are fine, and to read them takes time.
        alone = (file.stem,) if file.parent.name == "scenarios" else ()
        try:
            for run in _planned(tmp_path, experiment, alone):
                assert Run.model_validate_json(run.model_dump_json()) == run
        except ConfigError as error:
            lost = [one for one in complaints_of(error) if not re.search(r":\d+$", one.where)]
            assert lost == [], file.read_text(encoding="utf-8")
        except NothingSelected:
            pass
        file.write_bytes(before)
