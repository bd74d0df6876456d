"""Wait for a command's turn among all runners of the machine, as a step does."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping

from runner.cli.image_stage import site_of
from runner.engine.admission import Room
from runner.engine.owner import current
from runner.engine.protocol import Engine
from runner.engine.reservations import known_gpus, open_reservations
from runner.engine.unlisted import Unlisted
from runner.errors import EngineError
from runner.events import EventSink, Notice
from runner.execution.cancellation import Cancellation
from runner.execution.turns import Wish, held
from runner.spec.models import Limits

_LISTED = "run_command"
"""What stands for the experiment in `runner queue`."""


@contextlib.contextmanager
def turn(
    engine: Engine,
    limits: Limits,
    name: str,
    *,
    image: str,
    program: str,
    longest: float | None,
    tell: EventSink,
    settings: Mapping[str, str],
) -> Iterator[tuple[str, ...]]:
    """Hold a container's cores, memory and devices inside the block, waiting for them; yield its devices.

    Args:
        engine: where it is to run.
        limits: what is reserved.
        name: the container's.
        image: its image, as the caller calls it: its place in `runner queue` is named by that and the program.
        program: what is run.
        longest: seconds to wait at most; None: as long as it takes.
        tell: told why it waits.
        settings: RUNNER_SITE may name another file of the machine's rules.

    Raises:
        ConfigError: if the machine's rules cannot be used.
        EngineError: if its turn does not come in that time, or never could.
        StorageError: if there is no folder that runners could share.
    """
    info, site, unlisted = engine.info(), site_of(settings), Unlisted(engine)
    known = known_gpus(info, site)
    if limits.gpus > len(known):
        raise EngineError(f"{limits.gpus} GPUs are wanted (limits.gpus), and there are {len(known)}")

    def say(reason: str) -> None:
        tell(Notice(time=time.time(), text=f"{program} waits for its turn: {reason}"))

    wish = Wish(room=Room(cpus=limits.cpus, memory=limits.memory), key=name, run=image, step=program, gpus=limits.gpus)
    with (
        open_reservations(current(), info, site, _LISTED, unlisted, refresh=unlisted.refresh) as mine,
        held(mine, wish, Cancellation(), say, longest),
    ):
        yield mine.devices(name)
