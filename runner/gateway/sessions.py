"""Sessions of the gateway process: a folder, a socket, a token and a provider each, from open to close."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp
from aiohttp import web
from pydantic import SecretStr

from runner.events import boottime
from runner.gateway.bodies import FOLDER, Bodies
from runner.gateway.boot import Boot
from runner.gateway.budgets import Purse, Purses, spent_by
from runner.gateway.calls import Call, read_calls, totals
from runner.gateway.egress.egress import Egress
from runner.gateway.egress.index_settings import IndexSettings
from runner.gateway.egress.switch import Switchboard, make_protocol_factory
from runner.gateway.pending import SUFFIX, Pending, belongs
from runner.gateway.prices import Prices, load_prices
from runner.gateway.providers import make_provider
from runner.gateway.served import WRITE_SECONDS, Served, answered
from runner.gateway.server import make_app
from runner.gateway.session import Listen, MeteredSink, Session, SessionSpec, Totals, ignore
from runner.gateway.settings import Spent
from runner.gateway.traffic import Lane
from runner.gateway.unread import record_malformed, record_unread
from runner.names import GATEWAY_SOCKET
from runner.spec.model import Budget, Traffic

_BACKLOG = 512
_LONGEST_HEADERS = 64 * 1024
_IDLE_SECONDS = 600.0
_OURS = ("scripted", "replay")


@dataclass(frozen=True, kw_only=True)
class _Open:
    session: Session
    served: Served
    runner: web.AppRunner
    server: asyncio.Server
    switchboard: Switchboard
    egress: Egress | None
    port: int | None
    socket: Path | None
    until: float | None
    """When it ends if nobody holds it, by the event loop's clock, which nobody sets; None: at once."""


@dataclass(kw_only=True)
class _RunPurse:
    """What all sessions of one run are paid from, kept as long as one of them is open."""

    holders: int = 0
    purse: Purse | None = None
    """Known once the first session has read the run's calls."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(kw_only=True)
class Sessions:
    """Holds the open sessions of one gateway process, and what they share."""

    folder: Path
    http: aiohttp.ClientSession
    key: SecretStr | None
    base_url: str
    drain_seconds: float
    traffic: Traffic = field(default_factory=Traffic)
    prices: Path | None = None
    budget: Budget = field(default_factory=Budget)
    experiment: str = ""
    """Whose budget it is."""
    spent: Spent = field(default_factory=Spent)
    on_call: MeteredSink = ignore
    index: IndexSettings | None = None
    by_id: dict[str, _Open] = field(default_factory=dict)
    _busy: dict[str, asyncio.Event] = field(default_factory=dict)
    _run_purses: dict[tuple[Path, str], _RunPurse] = field(default_factory=dict)
    _lane: Lane = field(init=False)
    _purse: Purse = field(init=False)
    _prices: Prices | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._lane = Lane(self.traffic)
        self._purse = Purse("budgets.experiment", self.budget, self.spent)

    async def open(self, spec: SessionSpec, again: Session | None = None, *, listen: Listen | None = None) -> Session:
        """Make a session and listen on its socket.

        Args:
            spec: what it is for.
            again: the session as another process had it open: it gets the same id, token and folder, and goes on
                where its calls file ends.
            listen: where to listen instead of in its folder, for clients that are no containers.

        Raises:
            ConfigError: if its answers, its recording or the table of prices cannot be used.
            OSError: if the socket cannot be made.
        """
        token = (listen.token if listen is not None else None) or f"run-{secrets.token_urlsafe(24)}"
        identity = secrets.token_hex(4)
        session = again or Session(
            id=identity,
            token=token,
            directory=self.folder / identity,
            proxy=bool(spec.allow),
            packages=spec.packages is not None,
        )
        session.directory.mkdir(mode=0o700, exist_ok=again is not None)
        held = self._hold(spec)
        with contextlib.ExitStack() as undo, self._at(session.id):
            undo.callback(self._let_go, spec)
            if again is None:
                undo.callback(self._remove, session)
            self.by_id[session.id] = await self._serve(spec, session, held, listen)
            undo.pop_all()
        return session

    async def close(self, identity: str, drain_seconds: float | None = None) -> Totals:
        """Stop listening, wait for answers under way, and return what the session used.

        Raises:
            KeyError: if there is no such session (any more).
        """
        if (others := self._busy.get(identity)) is not None:
            await others.wait()
        one = self.by_id.pop(identity)
        with self._at(identity):
            return await self._end(one, self.drain_seconds if drain_seconds is None else drain_seconds)

    async def settled(self) -> None:
        """Wait until no session is in the middle of being opened or closed: each has all its lines then, or is there."""
        await asyncio.gather(*(one.wait() for one in list(self._busy.values())))

    def expired(self) -> list[str]:
        """Return the sessions that end now, if nobody holds them."""
        now = asyncio.get_running_loop().time()
        return [identity for identity, one in self.by_id.items() if one.until is None or one.until <= now]

    def next_expiry(self) -> float:
        """Return the seconds until there may be another expired session."""
        now = asyncio.get_running_loop().time()
        times = (one.until for one in self.by_id.values() if one.until is not None)
        return max(0.0, min(times, default=now) - now)

    def renew(self, boot: Boot) -> None:
        """Take on what another runner wants of the sessions it will open; those that are open keep what they have.

        A budget of the same experiment goes on from what is known here to be used up, if that is more: calls may have
        ended since the runner added them up. Limits of the same traffic go on as well.
        """
        self.key, self.base_url, self.index, self.drain_seconds = (
            boot.key,
            boot.base_url,
            boot.index,
            boot.drain_seconds,
        )
        if boot.traffic != self.traffic:
            self.traffic, self._lane = boot.traffic, Lane(boot.traffic)
        self.prices, self._prices = boot.prices, None
        if boot.experiment and boot.experiment == self.experiment:
            self._purse.budget = boot.budget
            self._purse.at_least(boot.spent)
        else:
            self._purse = Purse("budgets.experiment", boot.budget, boot.spent)
        self.budget, self.experiment = boot.budget, boot.experiment

    def spent_so_far(self) -> Spent:
        """Return what the experiment has used up."""
        return self._purse.spent

    @contextlib.contextmanager
    def _at(self, identity: str) -> Iterator[None]:
        """Have others wait for a session that is being opened or closed."""
        done = self._busy[identity] = asyncio.Event()
        try:
            yield
        finally:
            del self._busy[identity]
            done.set()

    async def _end(self, one: _Open, drain_seconds: float) -> Totals:
        one.server.close()
        one.switchboard.close()
        await _drain(one.served, drain_seconds)
        if one.egress is not None:
            await one.egress.close()
        await one.runner.cleanup()
        # Calls that began meanwhile, on connections that were kept: cleaning up ends them, and does not wait for their lines.
        await _drain(one.served, 0.0)
        if one.socket is not None:
            one.socket.unlink(missing_ok=True)
        await one.served.afterwards.done()
        one.served.pending.close()
        self._let_go(one.served.spec)
        self._remove(one.session)
        denied = one.egress.denied if one.egress is not None else ()
        return dataclasses.replace(totals(one.served.calls), denied=denied)

    async def _serve(self, spec: SessionSpec, session: Session, held: _RunPurse, listen: Listen | None) -> _Open:
        pending = Pending(self.folder / f"{session.id}{SUFFIX}")
        with contextlib.ExitStack() as undo:
            undo.callback(pending.close)
            one = await self._serve_with(pending, spec, session, held, listen)
            undo.pop_all()
        return one

    async def _serve_with(
        self, pending: Pending, spec: SessionSpec, session: Session, held: _RunPurse, listen: Listen | None
    ) -> _Open:
        async with held.lock:
            recovered, calls = await asyncio.to_thread(_known_calls, pending, spec, session)
            run_purse = held.purse = _run_purse(held.purse, spec, recovered, calls)
        provider = await asyncio.to_thread(
            make_provider, spec, token=session.token, http=self.http, base_url=self.base_url, key=self.key
        )
        mine = [call for call in calls if belongs(call, spec)]
        ours = provider is None or provider.name in _OURS
        served = Served(
            id=session.id,
            spec=spec,
            token=session.token,
            provider=provider,
            lane=Lane(Traffic()) if ours else self._lane,
            purses=Purses([Purse("budgets.step", spec.budgets.step, spent_by(mine)), run_purse, self._purse]),
            prices=await asyncio.to_thread(self._price_table),
            bodies=self._bodies(spec, session),
            pending=pending,
            key=self.key,
            on_call=self.on_call,
            write_seconds=self.http.timeout.sock_read or WRITE_SECONDS,
            calls=mine,
            requests=max((call.n for call in mine), default=0),
            turns=sum(answered(call) for call in mine),
        )
        egress = self._egress(spec, session)
        return await _listen(served, session, egress, listen)

    def _egress(self, spec: SessionSpec, session: Session) -> Egress | None:
        if not spec.allow and spec.packages is None:
            return None
        return Egress(spec, session.token, http=self.http, index=self.index)

    def _hold(self, spec: SessionSpec) -> _RunPurse:
        """Return the purse that all sessions of a run share, for one more of them."""
        held = self._run_purses.setdefault((spec.calls_file, spec.run), _RunPurse())
        held.holders += 1
        return held

    def _let_go(self, spec: SessionSpec) -> None:
        held = self._run_purses[spec.calls_file, spec.run]
        held.holders -= 1
        if not held.holders:
            del self._run_purses[spec.calls_file, spec.run]

    def _bodies(self, spec: SessionSpec, session: Session) -> Bodies:
        mode, patterns = (spec.model.bodies, spec.model.redact) if spec.model is not None else ("off", ())
        known = [session.token, *([self.key.get_secret_value()] if self.key is not None else [])]
        return Bodies(spec.calls_file.parent / FOLDER, mode, patterns, known)

    def _price_table(self) -> Prices:
        if self._prices is None:
            self._prices = load_prices(self.prices)
        return self._prices

    def _remove(self, session: Session) -> None:
        shutil.rmtree(session.directory, ignore_errors=True)
        shutil.rmtree(self.folder / f"{session.id}{SUFFIX}", ignore_errors=True)


def _known_calls(pending: Pending, spec: SessionSpec, session: Session) -> tuple[Sequence[Call], Sequence[Call]]:
    """Return the calls that a process before this one left unfinished, and all calls of the run so far."""
    pending.remember(spec, session)
    recovered = pending.recover(spec, spec.calls_file)
    return recovered, read_calls(spec.calls_file).calls


def _run_purse(purse: Purse | None, spec: SessionSpec, recovered: Sequence[Call], calls: Sequence[Call]) -> Purse:
    """Return the purse of a run: a new one that knows all its calls, or the one there is, with those only found now."""
    if purse is None:
        return Purse("budgets.run", spec.budgets.run, spent_by(call for call in calls if call.run == spec.run))
    purse.add(spent_by(recovered))
    return purse


async def _listen(served: Served, session: Session, egress: Egress | None, listen: Listen | None) -> _Open:
    # Frameworks send long headers; shutdown_timeout 0, as _drain has waited already.
    runner = web.AppRunner(
        make_app(served, egress.routes() if egress is not None else ()),
        access_log=None,
        keepalive_timeout=_IDLE_SECONDS,
        max_field_size=_LONGEST_HEADERS,
        max_line_size=_LONGEST_HEADERS,
        shutdown_timeout=0,
    )
    await runner.setup()
    if runner.server is None:
        raise OSError("the web server was not set up")
    record_malformed(runner.server, served)
    factory = make_protocol_factory(runner.server, egress, on_refused=partial(record_unread, served))
    loop = asyncio.get_running_loop()
    socket, port = None, None
    try:
        if listen is not None and listen.path is None:
            server = await loop.create_server(factory, listen.host, listen.port, backlog=_BACKLOG)
            port = server.sockets[0].getsockname()[1]
        else:
            socket = listen.path if listen is not None else None
            place = socket or session.directory / GATEWAY_SOCKET
            if socket is None:
                with contextlib.suppress(FileNotFoundError):
                    place.unlink()
            server = await loop.create_unix_server(factory, os.fspath(place), backlog=_BACKLOG)
    except OSError:
        await runner.cleanup()
        raise
    return _Open(
        session=session,
        served=served,
        runner=runner,
        server=server,
        switchboard=factory,
        egress=egress,
        port=port,
        socket=socket,
        until=None if served.spec.expires is None else loop.time() + served.spec.expires - boottime(),
    )


async def _drain(served: Served, seconds: float) -> None:
    """Wait for calls under way; end those that take too long, which records them as far as they got."""
    if served.tasks:
        await asyncio.wait(set(served.tasks), timeout=seconds)
    late = set(served.tasks)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=max(seconds, 1.0))
