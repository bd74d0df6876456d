"""Many calls of all formats through a gateway, and what of them was recorded otherwise than stated.

As a program, `python -m support.upstream.mixed CALLS FOLDER` prints it as JSON; nothing may be recorded in FOLDER before.
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from support.upstream.starting import stated, upstream

from runner.gateway.calls import read_calls
from runner.gateway.client import start_gateway
from runner.gateway.session import Session, SessionSpec
from runner.gateway.settings import gateway_settings
from runner.spec.model import Model

KEY = "sk-mixed-0a6f3b"
THREADS = 8
FIELDS = ("format", "tokens_in", "tokens_out", "tokens_cached", "tokens_cache_written", "tokens_reasoning", "stream")
WAYS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
    ("/v1/responses", {"input": "x"}),
    ("/v1/messages", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9}),
    ("/v1/completions", {"prompt": "x"}),
    ("/v1/embeddings", {"input": "x"}),
)


FORMATS = {
    "/v1/chat/completions": "openai-chat",
    "/v1/responses": "openai-responses",
    "/v1/messages": "anthropic-messages",
    "/v1/completions": "openai-completions",
    "/v1/embeddings": "openai-embeddings",
}


def compare(count: int, folder: Path) -> dict[str, Any]:
    """Make calls, and return how many of them were recorded otherwise than the upstream stated them.

    Args:
        count: how many.
        folder: where they are recorded.
    """
    with upstream(KEY, seed=count) as address:
        model = Model(provider="openai", name="m", base_url=f"{address}/v1", bodies="digest")
        spec = SessionSpec(
            run="mixed",
            framework="mixed",
            scenario="mixed",
            step="one",
            index=1,
            attempt=1,
            model=model,
            answers=None,
            calls_file=folder / "calls.jsonl",
        )
        with start_gateway(gateway_settings(model, {"OPENAI_API_KEY": KEY})) as gateway:
            session = gateway.open(spec)
            begun = time.monotonic()
            with ThreadPoolExecutor(THREADS) as pool:
                statuses = Counter(itertools.chain(*pool.map(lambda part: _ask(session, *part), _parts(count))))
            seconds = time.monotonic() - begun
            totals = gateway.close(session)
        told = stated(address)
    recorded = [call.model_dump() for call in read_calls(spec.calls_file).calls]
    sums = {name: sum(one[name] for one in told) for name in ("tokens_in", "tokens_out", "tokens_cached")}
    return {
        "calls": len(told),
        "recorded": len(recorded),
        "differences": differences([{**one, "format": FORMATS[one["path"]]} for one in told], recorded),
        "statuses": dict(statuses),
        "sums_agree": sums == {name: getattr(totals, name) for name in sums},
        "seconds": seconds,
    }


def differences(told: Iterable[Mapping[str, Any]], recorded: Iterable[Mapping[str, Any]]) -> int:
    """Return how many calls are recorded otherwise than they were stated, or not at all, or were never stated.

    No two answers have the same tokens in, so that equal fields are those of the same call.
    """
    wanted, found = (Counter(tuple(one[name] or 0 for name in FIELDS) for one in ones) for ones in (told, recorded))
    return max((wanted - found).total(), (found - wanted).total())


def _parts(count: int) -> list[tuple[int, int]]:
    """Return, for each thread, the seed of its choices and how many calls it makes."""
    return [(number, count // THREADS + (number < count % THREADS)) for number in range(THREADS)]


def _ask(session: Session, seed: int, count: int) -> list[int]:
    """Make calls one after the other on one connection; return their statuses."""
    chance = random.Random(seed)
    connection = http.client.HTTPConnection("gateway", timeout=60)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(session.directory / "gateway.sock"))
    statuses = []
    for _ in range(count):
        path, body = chance.choice(WAYS)
        stream = path != "/v1/embeddings" and chance.random() < 0.5
        told = {"stream_options": {"include_usage": True}} if stream and chance.random() < 0.5 else {}
        headers = {"Authorization": f"Bearer {session.token}", "Content-Type": "application/json"}
        connection.request("POST", path, json.dumps({"model": "m", **body, "stream": stream, **told}), headers)
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
    connection.close()
    return statuses


if __name__ == "__main__":
    sys.stdout.write(json.dumps(compare(int(sys.argv[1]), Path(sys.argv[2]))) + "\n")
