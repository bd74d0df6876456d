"""The gateway's figures: added latency, streams, calls per second, memory, metering."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from gateway.calling import Took, call, calls
from gateway.figures import Samples, added, memory, p99, ratio
from gateway.ways import Ways, open_ways

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
PAIRS = 600
STREAM_PAIRS = 200
ROUNDS = 3
STREAMS = 32
PACED = "events=300 pace=10"
"""What a quick model does: a hundred tokens a second for three seconds, each an event of about 200 bytes."""
UNPACED = "events=2000"
CALLERS = 16
CALLS = 1600
MANY_STREAMS = 200
MANY_PACED = "events=100 pace=40"
METERED = 10_000


def measure_gateway(samples: Samples, *, metered: int = METERED) -> dict[str, float]:
    """Measure everything; takes about a minute. To be called before anything deletes many files.

    ext4 without a journal does not give a deleted file's inode to a new file for a while, and looks at all of them whenever
    a file is made; that of a body of a call then takes ten times as long.

    Args:
        samples: gets the single measurements.
        metered: how many calls metering is compared for.

    Returns:
        Figures by name; each name ends with its unit.

    Raises:
        SystemExit: if a call is not answered.
    """
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-gateway-", dir=BUILD) as name:
        folder = Path(name)
        with open_ways(folder) as ways:
            figures = asyncio.run(_measure(ways, samples))
        return {**figures, **measure_metering(metered, folder / "metered")}


async def _measure(ways: Ways, samples: Samples) -> dict[str, float]:
    await _times(ways, "whole", 50, lambda took: took.total)
    whole = await _times(ways, "whole", PAIRS, lambda took: took.total)
    stream = await _times(ways, "events=20", STREAM_PAIRS, lambda took: took.first_byte)
    for name, times in (("call", whole), ("first_byte", stream)):
        samples |= {f"{name}_{side}_p50_p99_seconds": [median(found), p99(found)] for side, found in times.items()}
    first_byte = added("gateway_added_first_byte", **stream)
    return {
        **added("gateway_added_latency", **whole),
        "gateway_added_first_byte_seconds": first_byte["gateway_added_first_byte_p50_seconds"],
        "gateway_added_first_byte_p99_seconds": first_byte["gateway_added_first_byte_p99_seconds"],
        "gateway_stream_throughput_ratio": ratio(**await _streams(ways, "paced", PACED, samples)),
        "gateway_stream_unpaced_ratio": ratio(**await _streams(ways, "unpaced", UNPACED, samples)),
        **await _rates(ways, samples),
        **await _memory(ways),
    }


async def _times(ways: Ways, words: str, pairs: int, what: Callable[[Took], float]) -> dict[str, list[float]]:
    """Time calls, one at a time and in turn, on one kept connection of each side."""
    ready = [(name, side, await side.connect()) for name, side in ways.sides]
    times: dict[str, list[float]] = {name: [] for name, _ in ways.sides}
    for _ in range(pairs):
        for name, side, connection in ready:
            times[name].append(what(await call(side, words, connection)))
    for _, _, (_, writer) in ready:
        writer.close()
    return times


async def _streams(ways: Ways, name: str, words: str, samples: Samples) -> dict[str, list[float]]:
    """Count the bytes per second of many streams at once, in turn."""
    rates: dict[str, list[float]] = {side: [] for side, _ in ways.sides}
    for _ in range(ROUNDS):
        for side, way in ways.sides:
            begun = time.perf_counter()
            sizes = await asyncio.gather(*(calls(way, words) for _ in range(STREAMS)))
            rates[side].append(sum(sizes) / (time.perf_counter() - begun))
    samples |= {f"streams_{name}_{side}_bytes_per_second": found for side, found in rates.items()}
    return rates


async def _rates(ways: Ways, samples: Samples) -> dict[str, float]:
    """Count whole calls per second, from several callers at once, in turn."""
    rates: dict[str, list[float]] = {f"{name}_calls_per_second": [] for name, _ in ways.sides}
    for _ in range(ROUNDS):
        for name, side in ways.sides:
            begun = time.perf_counter()
            await asyncio.gather(*(calls(side, "whole", CALLS // CALLERS) for _ in range(CALLERS)))
            rates[f"{name}_calls_per_second"].append(CALLS / (time.perf_counter() - begun))
    samples |= rates
    return {name: median(found) for name, found in rates.items()}


async def _memory(ways: Ways) -> dict[str, float]:
    """Take the peak of the gateway's memory while many streams go on: the kernel's own, not a sample."""
    process = Path(f"/proc/{ways.pid}")
    # Sets VmHWM back to what is in use now, see proc(5); all before it is no figure of these streams.
    (process / "clear_refs").write_text("5", encoding="ascii")
    before = memory((process / "status").read_text(encoding="ascii"), "VmRSS")
    await asyncio.gather(*(calls(ways.gateway, MANY_PACED) for _ in range(MANY_STREAMS)))
    peak = memory((process / "status").read_text(encoding="ascii"), "VmHWM")
    return {"gateway_rss_before_streams_bytes": before, "gateway_rss_200_streams_bytes": peak}


def measure_metering(count: int, folder: Path) -> dict[str, float]:
    """Compare what is recorded of many mixed calls with what their server stated.

    Args:
        count: how many.
        folder: where they are recorded; nothing may be there before.

    Raises:
        SystemExit: if the comparison could not be made, or not every call was answered.
    """
    command = [sys.executable, "-m", "support.upstream.mixed", str(count), str(folder)]
    done = subprocess.run(command, cwd=ROOT / "tests", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    found = json.loads(done.stdout)
    if found["statuses"] != {"200": count}:
        raise SystemExit(f"of {count} mixed calls, answers had these statuses: {found['statuses']}")
    return {
        "gateway_metering_calls": found["calls"],
        "gateway_metering_differences": found["differences"] + (not found["sums_agree"]),
        "gateway_metering_seconds": found["seconds"],
    }
