"""Serve the gateway alone."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from runner.cli.console import Console
from runner.cli.serving import (
    add_limits,
    add_model,
    add_place,
    listen_of,
    model_of,
    recording_of,
    require_answers,
    settings_of,
    spec_of,
)
from runner.errors import ExitCode

if TYPE_CHECKING:
    from runner.gateway.calls import Call
    from runner.gateway.session import Totals

EXAMPLES = """
runner gateway serve --provider openai --port 4000 --calls calls.jsonl
runner gateway serve --provider anthropic --socket /run/user/1000/meter.sock
runner gateway serve --provider openai --base-url http://127.0.0.1:11434/v1 --key-env OLLAMA_KEY --port 4000
runner gateway serve --provider openai --model gpt-4o-mini --port 0 --budget-dollars 5 --concurrency 4
runner gateway serve --provider scripted --answers answers.yaml --port 4000
runner gateway serve --provider replay --recording run.tar.zst --port 4000
"""
_DESCRIPTION = """
The `export` lines it prints first lead a client to it. It holds the provider's key; the client gets a token, a random
one unless RUNNER_GATEWAY_TOKEN gives it. Each call is metered and told on stderr; Ctrl-C ends it and tells the totals.
With --calls a line per call is kept, and those of earlier times count for the budgets."""


def add_arguments(parser: ArgumentParser) -> None:
    """Add what to serve, where, and within which limits."""
    parser.description = f"{parser.description}\n{_DESCRIPTION}"
    parser.add_argument("task", choices=("serve",), metavar="TASK", help="serve")
    add_model(parser)
    add_place(parser)
    add_limits(parser)


def run(args: Namespace, console: Console) -> int:
    """Serve until Ctrl-C; that a budget was exceeded ends with the code of a failure."""
    require_answers(args)
    listen, model = listen_of(args), model_of(args)
    settings = settings_of(args, model)
    from runner.gateway.client import GatewayProcess
    from runner.gateway.serve import exports

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="runner-")))
        recording = stack.enter_context(recording_of(args))
        gateway = GatewayProcess(settings)
        stack.callback(gateway.shutdown)
        spec = spec_of(args, model, folder, recording)
        teller = _Teller(console, spec.calls_file)
        session = gateway.open(spec, lambda _: teller.tell(), listen=listen)
        try:
            for line in exports(session, listen, model):
                console.result(line)
            console.flush()
            gateway.wait()
        except KeyboardInterrupt:
            console.aside("ending; calls under way are waited for")
        finally:
            totals = gateway.close(session)
            teller.tell()
            if listen.path is not None:
                listen.path.unlink(missing_ok=True)
    console.aside(_summary(totals))
    return ExitCode.FAILED if totals.exceeded else ExitCode.PASSED


class _Teller:
    """Tells each call once, whichever thread notices it.

    Args:
        console: where it is told.
        path: the calls file.
    """

    def __init__(self, console: Console, path: Path) -> None:
        from runner.gateway.serve import Tail

        self._console = console
        self._tail = Tail(path=path)
        self._tail.skip()
        self._lock = threading.Lock()

    def tell(self) -> None:
        """Tell the calls that were recorded since."""
        with self._lock:
            for call in self._tail.read():
                self._console.aside(_line(call))


def _line(call: Call) -> str:
    from runner.report.format import count, duration, usd

    model = call.model_used or call.model_sent or call.model_asked or call.path
    tokens = f"{count(call.tokens_in)} in, {count(call.tokens_out)} out"
    error = f"  {call.error}" if call.error else ""
    return f"{model}  {call.status}  {tokens}  {usd(call.cost_usd)}  {duration(call.latency_seconds)}{error}"


def _summary(totals: Totals) -> str:
    from runner.report.format import count, plural, usd

    tokens = f"{count(totals.tokens_in)} tokens in, {count(totals.tokens_out)} out"
    reason = f" ({totals.cost_reason})" if totals.cost_usd is None and totals.cost_reason else ""
    failed = f", {totals.failed_calls:,} failed" if totals.failed_calls else ""
    exceeded = f"; {totals.exceeded}" if totals.exceeded else ""
    return f"{plural(totals.api_calls, 'call')}: {tokens}, {usd(totals.cost_usd)}{reason}{failed}{exceeded}"
