"""Provider `replay`: the answers of an earlier run, given again to the same questions.

`strict` finds a call by what is asked (see `runner.gateway.matching`), equal requests in the order in which they were
recorded, and refuses what was never asked, and everything after it. `sequence` gives the n-th answer to the n-th call.
Both look at one attempt of one step only, so steps cannot take each other's answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field

from runner.errors import ConfigError, RunnerError
from runner.gateway.bodies import FOLDER, Bodies, read_body
from runner.gateway.calls import Call, read_calls
from runner.gateway.matching import Request, difference, nearest, normalise
from runner.gateway.pending import belongs
from runner.gateway.providers.protocol import Ask, Refused, Reply
from runner.gateway.recording import Recording, load_recording, was_answered
from runner.gateway.session import SessionSpec
from runner.gateway.sse import split_events
from runner.spec.model import Model

CODE = "replay_mismatch"
_ERRORS = range(400, 600)


@dataclass(kw_only=True)
class Tape:
    """The recorded calls of one attempt, in order, and which of them have been given."""

    recording: Recording
    calls: Sequence[Call]
    requests: Sequence[Request]
    """What each of them asked, without what may differ; empty where nobody compares."""
    given: set[int] = field(default_factory=set)
    """Positions of calls that have been given again."""

    def take_equal(self, request: Request) -> Call | None:
        """Return the first call not yet given that asked the same."""
        return self._take(at for at, other in enumerate(self.requests) if other.key == request.key)

    def take_next(self) -> Call | None:
        """Return the first call not yet given."""
        return self._take(range(len(self.calls)))

    def _take(self, positions: Iterable[int]) -> Call | None:
        found = next((at for at in positions if at not in self.given), None)
        if found is None:
            return None
        self.given.add(found)
        return self.calls[found]


@dataclass(kw_only=True)
class ReplayProvider:
    """Answers calls of one attempt from a tape."""

    tape: Tape
    spec: SessionSpec
    live: Bodies
    """Takes out of a request what was taken out of the recorded ones."""
    strict: bool
    wrong: str = ""
    """What was asked and never recorded; nothing is answered after that."""
    name: str = "replay"

    async def answer(self, ask: Ask) -> Reply:
        if self.wrong:
            raise _refused(self.wrong)
        call = await self._strict(ask) if self.strict else self._next(ask)
        try:
            body = await asyncio.to_thread(read_body, self.tape.recording.bodies, call.response_sha256 or "")
        except RunnerError as error:
            raise _refused(f"{_name(self.tape, call)} cannot be given again: {error.what}") from None
        return _reply(call, body)

    async def _strict(self, ask: Ask) -> Call:
        # Large conversations take a while to compare; other sessions go on meanwhile.
        request = await asyncio.to_thread(self._request, ask)
        call = self.tape.take_equal(request)
        if call is None:
            self.wrong = await asyncio.to_thread(_mismatch, self.tape, self.spec, ask, request)
            raise _refused(self.wrong)
        return call

    def _request(self, ask: Ask) -> Request:
        return normalise(ask.path, self.live.redact(ask.received or ask.content), [self.spec.run])

    def _next(self, ask: Ask) -> Call:
        call = self.tape.take_next()
        if call is None:
            raise _refused(_exhausted(self.tape, self.spec, ask))
        if (call.format, call.stream) != (ask.format, ask.stream):
            raise _refused(
                f"call {ask.n} of step {self.spec.step} asks for {_kind(ask)}, "
                f"but {_name(self.tape, call)} was {_kind(call)}"
            )
        return call


def open_replay(spec: SessionSpec, token: str) -> ReplayProvider:
    """Return the provider of a session whose calls are answered from a recording; it reads many files.

    Calls of this attempt that stand in the calls file already, as after a restart, count as given.

    Args:
        spec: the session; it names a recording, and its model is `replay`.
        token: the session's token, which recorded requests do not show.

    Raises:
        ConfigError: if there is no recording, or it cannot be replayed.
        StorageError: if it is damaged.
    """
    model = spec.model or Model(provider="replay")
    if spec.recording is None:
        raise ConfigError(
            f"no recording for {spec.framework} on {spec.scenario}",
            hint="name recorded runs: runner go --replay RUN|DIR",
        )
    recording = load_recording(spec.recording)
    strict = model.replay_mode == "strict"
    calls = recording.of(spec.step, spec.attempt)
    requests = [_recorded(recording, call, model) for call in calls] if strict else []
    live = Bodies(spec.recording, "off", (*recording.redact, *_added(recording, model)), [token])
    provider = ReplayProvider(
        tape=Tape(recording=recording, calls=calls, requests=requests), spec=spec, live=live, strict=strict
    )
    _skip_given(provider)
    return provider


def _recorded(recording: Recording, call: Call, model: Model) -> Request:
    """Return what a recorded call asked, redacted as a live request is."""
    body = read_body(recording.bodies, call.request_sha256 or "")
    also = Bodies(recording.bodies, "off", _added(recording, model), [])
    return normalise(call.path, also.redact(body), [recording.run.id])


def _added(recording: Recording, model: Model) -> tuple[str, ...]:
    """Return the patterns of the replaying model that the recording had not."""
    return tuple(pattern for pattern in model.redact if pattern not in recording.redact)


def _skip_given(provider: ReplayProvider) -> None:
    spec = provider.spec
    for call in read_calls(spec.calls_file).calls:
        if belongs(call, spec) and was_answered(call) and call.fault != "runner":
            if not provider.strict or call.bodies != "full" or call.request_sha256 is None:
                provider.tape.take_next()
                continue
            body = read_body(spec.calls_file.parent / FOLDER, call.request_sha256)
            provider.tape.take_equal(normalise(call.path, provider.live.redact(body), [spec.run]))


def _reply(call: Call, body: bytes) -> Reply:
    stream = call.stream and call.status not in _ERRORS and not body.lstrip().startswith((b"{", b"["))
    return Reply(
        status=call.status,
        headers={"Content-Type": "text/event-stream" if stream else "application/json"},
        body=_events(body) if stream else _whole(body),
        stream=stream,
        counted_by_rule=call.usage_source == "rule",
        fault=call.fault or "provider",
    )


async def _events(body: bytes) -> AsyncGenerator[bytes, None]:
    events, rest = split_events(body)
    for event in events:
        yield event
        await asyncio.sleep(0)
    if rest:
        yield rest


async def _whole(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


def _mismatch(tape: Tape, spec: SessionSpec, ask: Ask, request: Request) -> str:
    """Say why no recorded call answers a request, with the nearest one and where it differs."""
    equal = [call for call, other in zip(tape.calls, tape.requests, strict=True) if other.key == request.key]
    if equal:
        times = f"{len(equal)} times" if len(equal) > 1 else "once"
        return (
            f"call {ask.n} of step {spec.step} asks again what was recorded {times}, last as {_name(tape, equal[-1])}"
        )
    # Of equally near ones the next that is left; if none is left, the last.
    left = [at for at in range(len(tape.calls)) if at not in tape.given] or list(reversed(range(len(tape.calls))))
    found = nearest(request, [tape.requests[at] for at in left])
    if found is None:
        return _exhausted(tape, spec, ask)
    other = left[found]
    return (
        f"call {ask.n} of step {spec.step} was not recorded; nearest is {_name(tape, tape.calls[other])}: "
        f"{difference(tape.requests[other], request)}"
    )


def _exhausted(tape: Tape, spec: SessionSpec, ask: Ask) -> str:
    return (
        f"call {ask.n} of step {spec.step}, attempt {spec.attempt} was not recorded: {tape.recording.run.id} has "
        f"{len(tape.calls)} calls of it"
    )


def _name(tape: Tape, call: Call) -> str:
    return f"call {call.n} of {tape.recording.run.id}"


def _kind(one: Ask | Call) -> str:
    return f"{one.format} as a stream" if one.stream else one.format


def _refused(message: str) -> Refused:
    return Refused(
        400, f"replay: {message}", kind="invalid_request_error", code=CODE, fault="runner", begun=False, retry=False
    )
