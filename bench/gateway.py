#!/usr/bin/env python3
"""Measure the gateway against the server behind it: added latency, streams, calls per second, memory, metering.

Both sides of every comparison have the same client and the same server, in turn. The client reaches the server over TCP
and the gateway over the unix socket that containers use; every call through the gateway is recorded, synced to disk
and kept with its bodies, as in a run. `make bench` runs this as part of measure.py; alone it prints its figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from runner.gateway.client import GatewayProcess
from runner.gateway.session import SessionSpec
from runner.gateway.settings import gateway_settings
from runner.spec.model import Model

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "bench-gateway"
PAIRS = 600
STREAM_PAIRS = 200
ROUNDS = 3
STREAMS = 32
PACED = "events=150 pace=20"
"""What a quick model does: fifty tokens a second, each an event of its own, for three seconds."""
UNPACED = "events=2000"
CALLERS = 16
CALLS = 1600
MANY_STREAMS = 200
MANY_PACED = "events=100 pace=40"
METERED = 10_000
_LIMIT = 1 << 20
_RESIDENT = re.compile(r"VmRSS:\s+(\d+) kB")
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")

Samples = dict[str, list[float]]
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of two ways to the same server."""

    connect: Connect
    token: str

    def request(self, words: str) -> bytes:
        """Return a request of the usual size; `words` say what the server is to do."""
        messages = [{"role": "system", "content": "Be brief. " * 200}, {"role": "user", "content": words}]
        told = {"stream": True, "stream_options": {"include_usage": True}} if words.startswith("events=") else {}
        body = json.dumps({"model": "m", "messages": messages, **told}).encode()
        lines = ("POST /v1/chat/completions HTTP/1.1", "Host: model", f"Authorization: Bearer {self.token}")
        head = "\r\n".join((*lines, "Content-Type: application/json", f"Content-Length: {len(body)}", "", ""))
        return head.encode() + body


def measure_gateway(samples: Samples, *, metered: int = METERED) -> dict[str, float]:
    """Measure everything.

    Args:
        samples: gets the single measurements.
        metered: how many calls metering is compared for.

    Returns:
        Figures by name; times in seconds unless they say milliseconds.
    """
    shutil.rmtree(FOLDER, ignore_errors=True)
    with _both() as (direct, gateway, pid):
        figures = asyncio.run(_measure(direct, gateway, pid, samples))
    return {**figures, **_metering(metered)}


@contextlib.contextmanager
def _both() -> Iterator[tuple[Side, Side, int]]:
    """Start server and gateway; give the way to each, and the id of the gateway's process."""
    command = [sys.executable, str(ROOT / "bench" / "null_upstream.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None  # noqa: S101  it is a pipe
        port = int(server.stdout.readline())
        model = Model(provider="openai", name="m", base_url=f"http://127.0.0.1:{port}/v1")
        gateway = GatewayProcess(gateway_settings(model, {"OPENAI_API_KEY": "sk-bench"}))
        spec = SessionSpec(
            run="bench",
            framework="bench",
            scenario="bench",
            step="one",
            index=1,
            attempt=1,
            model=model,
            answers=None,
            calls_file=FOLDER / "llm" / "calls.jsonl",
        )
        try:
            session = gateway.open(spec)
            socket = str(session.directory / "gateway.sock")
            yield (
                Side(connect=lambda: asyncio.open_connection("127.0.0.1", port, limit=_LIMIT), token="sk-bench"),
                Side(connect=lambda: asyncio.open_unix_connection(socket, limit=_LIMIT), token=session.token),
                gateway.pid,
            )
            gateway.close(session)
        finally:
            gateway.shutdown()
            server.terminate()


async def _measure(direct: Side, gateway: Side, pid: int, samples: Samples) -> dict[str, float]:
    await _latencies(direct, gateway, "whole", 50, {})
    return {
        **_added("call", *await _latencies(direct, gateway, "whole", PAIRS, samples)),
        **_added("first_byte", *await _latencies(direct, gateway, "events=20", STREAM_PAIRS, samples)),
        **await _compare_streams("paced", PACED, direct, gateway, samples),
        **await _compare_streams("unpaced", UNPACED, direct, gateway, samples),
        **await _rates(direct, gateway, samples),
        **await _memory(gateway, pid),
    }


async def _latencies(
    direct: Side, gateway: Side, words: str, pairs: int, samples: Samples
) -> tuple[list[float], list[float]]:
    """Time calls, one at a time and in turn, on a connection of each side: to the first byte of the answer's body."""
    ways = [(side.request(words), await side.connect()) for side in (direct, gateway)]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs):
        for (request, (reader, writer)), found in zip(ways, times, strict=True):
            begun = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            first = await reader.readexactly(1)
            found.append(time.perf_counter() - begun)
            await _rest(reader, head, first)
    for _, (_, writer) in ways:
        writer.close()
    for side, found in zip(("direct", "gateway"), times, strict=True):
        samples[f"{words.partition('=')[0]}_{side}_p50_p99_seconds"] = [median(found), quantiles(found, n=100)[98]]
    return times


def _added(name: str, direct: list[float], gateway: list[float]) -> dict[str, float]:
    """Return by how much the gateway's half and last hundredth are slower, milliseconds."""
    p50 = median(gateway) - median(direct)
    p99 = quantiles(gateway, n=100)[98] - quantiles(direct, n=100)[98]
    return {f"gateway_{name}_added_p50_ms": p50 * 1000, f"gateway_{name}_added_p99_ms": p99 * 1000}


async def _compare_streams(name: str, words: str, direct: Side, gateway: Side, samples: Samples) -> dict[str, float]:
    """Compare the bytes per second of many streams at once."""
    rates: dict[str, list[float]] = {"direct": [], "gateway": []}
    for _ in range(ROUNDS):
        for side, way in (("direct", direct), ("gateway", gateway)):
            begun = time.perf_counter()
            sizes = await asyncio.gather(*(_call(way, words) for _ in range(STREAMS)))
            rates[side].append(sum(sizes) / (time.perf_counter() - begun))
    for side, found in rates.items():
        samples[f"streams_{name}_{side}_bytes_per_second"] = found
    ratio = median(rates["gateway"]) / median(rates["direct"])
    return {f"gateway_streams_{name}_ratio": ratio}


async def _rates(direct: Side, gateway: Side, samples: Samples) -> dict[str, float]:
    """Count whole calls per second, from several callers at once."""
    rates: dict[str, list[float]] = {"direct": [], "gateway": []}
    for _ in range(ROUNDS):
        for name, side in (("direct", direct), ("gateway", gateway)):
            begun = time.perf_counter()
            await asyncio.gather(*(_call(side, "whole", CALLS // CALLERS) for _ in range(CALLERS)))
            rates[name].append(CALLS / (time.perf_counter() - begun))
    samples.update({f"{name}_calls_per_second": found for name, found in rates.items()})
    return {f"{name}_calls_per_second": median(found) for name, found in rates.items()}


async def _memory(gateway: Side, pid: int) -> dict[str, float]:
    """Look at the gateway's memory while many streams go on, every tenth of a second."""
    before = _status(pid, _RESIDENT)
    streams = asyncio.gather(*(_call(gateway, MANY_PACED) for _ in range(MANY_STREAMS)))
    most = before
    while not streams.done():
        await asyncio.sleep(0.1)
        most = max(most, _status(pid, _RESIDENT))
    await streams
    return {
        "gateway_rss_before_streams_bytes": before,
        "gateway_rss_200_streams_bytes": most,
        "gateway_rss_peak_bytes": _status(pid, _PEAK),
    }


def _status(pid: int, what: re.Pattern[str]) -> float:
    """Return a figure of a process's memory, bytes; see proc(5), status."""
    found = what.search(Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    return float(found[1]) * 1024 if found else 0.0


async def _call(side: Side, words: str, times: int = 1) -> int:
    """Make calls on a connection of their own; return how many bytes their answers had."""
    reader, writer = await side.connect()
    request, size = side.request(words), 0
    for _ in range(times):
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        size += await _rest(reader, head, b"")
    writer.close()
    return size


async def _rest(reader: asyncio.StreamReader, head: bytes, first: bytes) -> int:
    """Read a body to its end, whether its length is known or it comes in chunks; return its size.

    Raises:
        SystemExit: if the answer is an error, as there is nothing to measure then.
    """
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"not answered: {head.decode()}")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    if length is not None:
        return len(await reader.readexactly(int(length[1]) - len(first))) + len(first)
    size, last = len(first), first
    while not last.endswith(b"\r\n0\r\n\r\n"):
        piece = await reader.read(1 << 16)
        if not piece:
            raise SystemExit("the stream broke off")
        size += len(piece)
        last = last[-8:] + piece
    return size


def _metering(count: int) -> dict[str, float]:
    """Compare what is recorded of many mixed calls with what the server stated."""
    folder = FOLDER / "metered"
    command = [sys.executable, "-m", "support.upstream.mixed", str(count), str(folder)]
    done = subprocess.run(command, cwd=ROOT / "tests", capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return {
        "metered_calls": found["calls"],
        "metered_differences": found["differences"] + abs(found["recorded"] - count) + (not found["sums_agree"]),
        "metered_seconds": found["seconds"],
    }


def main(metered: int = METERED) -> None:
    """Measure and print."""
    samples: Samples = {}
    figures = measure_gateway(samples, metered=metered)
    sys.stdout.write(json.dumps({**figures, "samples": samples}, indent=2) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
