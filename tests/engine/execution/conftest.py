"""A run on a real engine whose first step is performed alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engine_bench import Bench
from support.images import base_image
from support.planning import make_experiment, make_framework, make_plan

from runner.engine.docker import connect
from runner.engine.owner import current
from runner.engine.protocol import Engine
from runner.execution.cancellation import Cancellation
from runner.execution.container import prepare_run
from runner.execution.context import Context, release
from runner.names import LABEL_KIND, LABEL_RUN, LABEL_RUN_DIR


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Connect to the engine of this machine."""
    with connect(os.environ) as connected:
        yield connected


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    """Id of the base image."""
    return base_image(engine)


@pytest.fixture
def bench(engine: Engine, image: str, tmp_path: Path) -> Iterator[Bench]:
    """Prepare a run, and remove its volume afterwards."""
    owner = current()
    context = Context(
        engine=engine,
        info=engine.info(),
        gateway=None,
        owner=owner,
        output=tmp_path,
        answers={},
        images={image: image},
        events=lambda _: None,
        cancellation=Cancellation(),
    )
    experiment = make_experiment(frameworks=("alpha",), scenarios=("build",), repetitions=1, model=None)
    run = make_plan(experiment, frameworks=(make_framework("alpha", network="none"),), image=image)[0]
    layout = context.layout(run)
    prepare_run(layout, run)
    labels = {**owner.labels(), LABEL_KIND: "workspace", LABEL_RUN: run.id, LABEL_RUN_DIR: str(layout.root)}
    name = context.object_name(run)
    engine.volumes.create(name, device=str(layout.workspace), labels=labels)
    try:
        yield Bench(context, run)
    finally:
        engine.volumes.remove(name)
        release(context)
