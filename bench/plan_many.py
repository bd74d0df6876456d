#!/usr/bin/env python3
"""Plan many runs and print, as JSON, how long it took; whoever starts this measures its memory."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from runner.plan.matrix import plan
from runner.plan.models import ImageRef
from runner.spec.load import load_all
from runner.spec.overrides import Overrides
from runner.spec.project import find_project


def main(folder: str, repetitions: int) -> int:
    """Plan `repetitions` runs of the project in `folder`; they are all kept, as the real plan keeps them."""
    loaded = load_all(find_project(Path(folder)), "noop", Overrides(repetitions=repetitions), {})
    images = {name: ImageRef(tag=f"{name}:bench", id="sha256:" + "0" * 64) for name in loaded.frameworks}
    begin = time.perf_counter()
    runs = plan(
        loaded.experiment.value,
        {name: one.value for name, one in loaded.frameworks.items()},
        {name: one.value for name, one in loaded.scenarios.items()},
        images,
        {},
        platform="linux/amd64",
    )
    seconds = time.perf_counter() - begin
    distinct = len({run.digest for run in runs})
    sys.stdout.write(json.dumps({"seconds": seconds, "runs": len(runs), "distinct": distinct}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
