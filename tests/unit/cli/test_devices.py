"""Devices that an experiment wants and the machine has not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support.planning import make_experiment, make_framework, make_plan

from runner.cli.work import _require_gpus
from runner.errors import ConfigError
from runner.plan.models import Run
from runner.spec.models import Limits
from runner.spec.site import Site
from runner.testing.info import INFO


def plan(gpus: int) -> list[Run]:
    """Return a run whose steps want so many devices each."""
    experiment = make_experiment(
        frameworks=("alpha",), scenarios=("build",), repetitions=1, limits=Limits.model_validate({"gpus": gpus})
    )
    return list(make_plan(experiment, frameworks=(make_framework("alpha"),), image="sha256:1"))


def test_what_would_wait_for_ever_is_refused() -> None:
    """A step that wants more devices than there are is named before anything begins; the site file counts."""
    work: Any = SimpleNamespace(info=INFO, site=Site())
    _require_gpus(work, plan(0))
    with pytest.raises(
        ConfigError, match=r"step begin of build wants 1 GPUs \(limits.gpus\), and there are 0"
    ) as caught:
        _require_gpus(work, plan(1))
    assert "site.yaml" in caught.value.hint
    work.site = Site(gpus=("0", "1"))
    _require_gpus(work, plan(2))
    with pytest.raises(ConfigError, match="wants 3 GPUs"):
        _require_gpus(work, plan(3))


def test_devices_are_part_of_identity() -> None:
    """A run whose steps have another number of devices is another run."""
    assert len({plan(gpus)[0].digest for gpus in (0, 1, 2)}) == 3
