"""The seam between a run and its way out: a gateway, and one session per attempt."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import quote

from pydantic import TypeAdapter

from runner.errors import ExitCode, RunnerError
from runner.names import GATEWAY_PORT
from runner.spec.egress import Packages
from runner.spec.model import Budgets, Model

T = TypeVar("T")


class GatewayError(RunnerError):
    """The gateway cannot be started, has died for good, or refuses a session."""

    exit_code = ExitCode.BROKEN


@dataclass(frozen=True, kw_only=True)
class SessionSpec:
    """What the gateway has to know to serve and meter one attempt."""

    run: str
    framework: str
    scenario: str
    step: str
    index: int
    attempt: int
    model: Model | None
    """None for a step that talks to no model, but has another way out."""
    answers: Path | None
    """File of scripted answers, when the provider is scripted."""
    calls_file: Path
    """`llm/calls.jsonl` of the run; the gateway appends one line per call and syncs it before the client sees the end.
    Beside it stand `bodies/` and `connections.jsonl`."""
    seed: int = 0
    """Seed of the repetition, for `sampling.seed: repetition`."""
    budgets: Budgets = field(default_factory=Budgets)
    allow: tuple[str, ...] = ()
    """Hosts that may be reached through the proxy on the same port."""
    packages: Packages | None = None
    packages_folder: Path | None = None
    """Where `packages.folder` is."""
    recording: Path | None = None
    """Run directory whose calls are answered again, when the provider is replay."""
    needs_answers: bool = True
    """Whether scripted answers for the step have to be there; a program of the user's own may call no model at all."""
    expires: float | None = None
    """When the session ends if its runner is dead and no other takes it over, seconds since boot (`events.boottime`): the attempt's
    deadline and what its container may still need to end. None: together with its runner. A living runner's sessions
    do not expire: it closes them itself."""


@dataclass(frozen=True, kw_only=True)
class Listen:
    """Where a session listens that no container uses: on a socket of its own name, or on a port."""

    path: Path | None = None
    """Socket; None for a port."""
    host: str = "127.0.0.1"
    port: int = 0
    """0: any that is free."""
    token: str | None = None
    """The session's token, if it is not to be a random one."""


@dataclass(frozen=True, kw_only=True)
class Denied:
    """Connections to one host that a session refused."""

    host: str
    port: int
    times: int


@dataclass(frozen=True, kw_only=True)
class Totals:
    """What a session, step or run used. None: some call's provider did not state it (the count of such calls says so)."""

    api_calls: int
    tokens_in: int | None
    tokens_out: int | None
    tokens_cached: int | None
    cost_usd: float | None
    failed_calls: int
    unmetered_calls: int
    """Calls whose provider stated no usage."""
    last_error: str
    """Last error given to the framework, like `scripted answers exhausted ...`; empty if a call after it succeeded."""
    last_error_fault: str = ""
    """Whose doing that error is: `framework` (the request could not be served by anyone), `provider` or `runner`."""
    tokens_reasoning: int | None = None
    cost_reason: str = ""
    """Why there is no cost, if there is none."""
    cost_source: str = ""
    """Table of prices that the cost is from, with its version and digest."""
    partial_calls: int = 0
    """Calls whose answer broke off, counted as far as its usage had been stated."""
    call_seconds: float = 0.0
    """Wall time in calls, added up, without waiting."""
    waiting_seconds: float = 0.0
    """Time calls waited for the provider: its limits, retries, pauses; added up."""
    exceeded: str = ""
    """Which budget a call was refused for, in a sentence; empty if none was."""
    replay_error: str = ""
    """First error of ours in a replay, like a request that was never recorded; empty if there was none."""
    denied: tuple[Denied, ...] = ()
    """Connections that no pattern allowed."""


@dataclass(frozen=True, kw_only=True)
class Metered:
    """One call, as it is told to who wants to show it while the run goes on."""

    session: str
    tokens_in: int | None
    tokens_out: int | None
    cost_usd: float | None
    error: str | None
    waited_seconds: float = 0.0
    """How long it waited for the provider."""


def adapter(kind: type[T]) -> TypeAdapter[T]:
    """Return what reads and writes a type of this module as JSON; made once, since that takes milliseconds."""
    return _adapter(cast("Hashable", kind))


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast("type[Any]", kind))


MeteredSink = Callable[[Metered], None]
"""Takes each call once it is recorded; called from another thread; must not raise and must return quickly."""


def ignore(_: Metered) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """An open session: what the container gets."""

    id: str
    token: str
    """Random, worth nothing outside this session, forgotten when it closes."""
    directory: Path
    """Host folder with the socket, mounted read-only at GATEWAY_DIR."""
    proxy: bool = False
    """Whether hosts beside the model may be reached through it."""
    packages: bool = False
    """Whether it offers Python packages."""
    port: int | None = None
    """Port it listens on, if it is one that listens on a port."""

    def environment(self, model_name: str | None, host: str = f"127.0.0.1:{GATEWAY_PORT}") -> Mapping[str, str]:
        """Return the variables that lead the usual SDKs and tools to this session, with its token.

        Args:
            model_name: what frameworks are told to ask for; None: there is no model.
            host: where it is reached, with the port; by default the loopback port in a container.
        """
        root, secret = f"http://{host}", quote(self.token, safe="")
        found: dict[str, str] = {}
        if model_name is not None:
            found = {
                "OPENAI_API_KEY": self.token,
                "OPENAI_BASE_URL": f"{root}/v1",
                "OPENAI_API_BASE": f"{root}/v1",
                "ANTHROPIC_API_KEY": self.token,
                "ANTHROPIC_BASE_URL": root,
                "RUNNER_MODEL": model_name,
            }
        if self.proxy:
            names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
            found |= dict.fromkeys(names, f"http://run:{secret}@{host}")
            found |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,::1,localhost")
        if self.packages:
            index = f"http://run:{secret}@{host}/packages/simple/"
            found |= {"PIP_INDEX_URL": index, "UV_INDEX_URL": index, "UV_DEFAULT_INDEX": index}
        return found


class Gateway(Protocol):
    """Opens and closes sessions; implemented by the gateway process's client and by `runner.testing`."""

    def open(self, spec: SessionSpec, on_call: MeteredSink = ignore) -> Session:
        """Open a session and listen on its socket before returning; `on_call` hears of each call from then on.

        If a dead runner had the session of this attempt open for the same output folder, it is taken up again: same
        token, same folder, and its totals go on from the calls file. It keeps what it had been opened with. Another
        attempt of the step ends what a dead runner's attempt of it had open.
        """

    def close(self, session: Session) -> Totals:
        """Stop listening, let calls in flight be metered, and return the session's totals."""

    def forget(self, calls_file: Path) -> None:
        """Close what dead runners left open for a run and nobody has taken up: before its directory is set aside.

        Args:
            calls_file: `llm/calls.jsonl` of the run; no line is added to it by those sessions afterwards.
        """

    def shutdown(self) -> None:
        """End the gateway and every session."""
