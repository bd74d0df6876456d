"""How a provider is treated, by a clock that jumps over every wait."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.metered import run_timeless

from runner.gateway.providers.protocol import Ask, Refused, Reply
from runner.gateway.traffic import Lane, Tries
from runner.spec.model import Traffic

ASK = Ask(n=1, method="POST", path="/v1/x", format="other", headers={}, content=b"", original={})
Answer = tuple[int, Mapping[str, str], bytes] | Refused
OK: Answer = (200, {}, b"ok")
BUSY: Answer = (429, {}, b"slow down")
DOWN: Answer = (503, {}, b"down")


def no_connection(**changes: Any) -> Refused:
    """Return a try that reached nobody."""
    return Refused(502, "no connection", kind="api_connection_error", fault="provider", **{"retry": True, **changes})


@dataclass(kw_only=True)
class Provider:
    """Gives prepared answers in order, the last one again and again, and notes when it was asked."""

    answers: Sequence[Answer]
    name: str = "openai"
    takes: float = 0.0
    asked: list[float] = field(default_factory=list)
    under_way: int = 0
    most: int = 0

    async def answer(self, ask: Ask) -> Reply:
        """Answer one call."""
        assert ask is ASK
        number = len(self.asked)
        self.asked.append(asyncio.get_running_loop().time())
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.under_way -= 1
        found = self.answers[min(number, len(self.answers) - 1)]
        if isinstance(found, Refused):
            raise found
        status, headers, body = found
        return Reply(status=status, headers=headers, body=_body(body), stream=False)


async def _body(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data


def lane_of(**traffic: Any) -> Lane:
    """Return a lane whose chance is the same in every test."""
    return Lane(Traffic(**traffic), random.Random(1))


async def call(lane: Lane, provider: Provider, tries: Tries | None = None, hold: float = 0.0) -> tuple[int, bytes]:
    """Make one call and pass its answer on for some time; return status and body."""
    async with lane.answered(provider, ASK, tries if tries is not None else Tries()) as reply:
        data = b"".join([piece async for piece in reply.body])
        await asyncio.sleep(hold)
        return reply.status, data


def one_call(provider: Provider, tries: Tries | None = None, **traffic: Any) -> tuple[int, bytes]:
    """Make one call in a lane of its own."""

    async def main() -> tuple[int, bytes]:
        return await call(lane_of(**traffic), provider, tries)

    return run_timeless(main())


def starts(number: int, provider: Provider, *, hold: float = 0.0, **traffic: Any) -> list[float]:
    """Make many calls at once and return when the provider was asked."""

    async def main() -> list[float]:
        lane = lane_of(**traffic)
        await asyncio.gather(*(call(lane, provider, hold=hold) for _ in range(number)))
        return provider.asked

    return run_timeless(main())


def test_answer_comes_at_once() -> None:
    """A call that meets no trouble waits for nothing."""
    provider, tries = Provider(answers=[OK], takes=2.0), Tries()
    assert one_call(provider, tries) == (200, b"ok")
    assert (tries.waited, tries.begun, tries.retries, tries.statuses) == (0.0, 1, 0, [])


@pytest.mark.parametrize("bad", [BUSY, DOWN, (408, {}, b""), (500, {}, b""), (529, {}, b""), no_connection()])
def test_passing_failure_is_tried_again(bad: Answer) -> None:
    """429, 408, 5xx and no connection get another try; what failed is noted."""
    provider, tries = Provider(answers=[bad, bad, OK]), Tries()
    assert one_call(provider, tries) == (200, b"ok")
    status = 0 if isinstance(bad, Refused) else bad[0]
    assert (tries.begun, tries.retries, tries.statuses) == (3, 2, [status, status])


@pytest.mark.parametrize(
    "final",
    [(400, {}, b"bad"), (401, {}, b"key"), (404, {}, b"?"), (500, {"x-should-retry": "false"}, b"no"), (409, {}, b"")],
)
def test_lasting_failure_is_passed_on(final: Answer) -> None:
    """An error that another try would not mend comes back as it is, after one try."""
    provider = Provider(answers=[final, OK])
    assert isinstance(final, tuple)
    assert one_call(provider) == (final[0], final[2])
    assert len(provider.asked) == 1


def test_provider_may_ask_for_a_retry() -> None:
    """`x-should-retry: true` is stronger than the status."""
    provider = Provider(answers=[(409, {"x-should-retry": "true"}, b""), OK])
    assert one_call(provider) == (200, b"ok")


def test_empty_account_is_not_waited_for() -> None:
    """A 429 that says the quota is used up comes back at once, and tells the SDK not to try again."""
    provider = Provider(answers=[(429, {}, b'{"error":{"code":"insufficient_quota"}}'), OK])

    async def main() -> Mapping[str, str]:
        async with lane_of().answered(provider, ASK, Tries()) as reply:
            assert b"insufficient_quota" in b"".join([piece async for piece in reply.body])
            return reply.headers

    assert run_timeless(main()) == {"x-should-retry": "false"}
    assert len(provider.asked) == 1


def test_last_error_is_passed_on_as_it_was() -> None:
    """When the retries are used up, the framework gets the provider's own last error."""
    provider, tries = Provider(answers=[BUSY, DOWN, (500, {"x-request-id": "r"}, b"last")]), Tries()
    assert one_call(provider, tries, retries=2) == (500, b"last")
    assert tries.statuses == [429, 503, 500]


def test_lost_connections_end_in_a_refusal() -> None:
    """When no try got an answer, the last failure is the call's."""
    provider, tries = Provider(answers=[no_connection()]), Tries()
    with pytest.raises(Refused, match="no connection"):
        one_call(provider, tries, retries=1)
    assert tries.statuses == [0, 0]


def test_refusal_that_no_retry_mends_ends_the_call() -> None:
    """A provider that says that there is no use in it is asked once."""
    provider = Provider(answers=[no_connection(retry=False), OK])
    with pytest.raises(Refused):
        one_call(provider)
    assert len(provider.asked) == 1


def test_waits_grow_with_full_jitter() -> None:
    """Each wait is anywhere between nothing and the doubled one, up to the longest."""

    def waits(seed: int) -> list[float]:
        provider = Provider(answers=[DOWN])

        async def main() -> None:
            lane = Lane(Traffic(retries=6, backoff=1.0, longest_backoff=8.0, pause_after=100), random.Random(seed))
            await call(lane, provider)

        run_timeless(main())
        return [later - sooner for sooner, later in zip(provider.asked, provider.asked[1:], strict=False)]

    every = [waits(seed) for seed in range(60)]
    for number, most in enumerate([1, 2, 4, 8, 8, 8]):
        column = [row[number] for row in every]
        assert max(column) <= most
        assert max(column) > 0.8 * most
        assert min(column) < 0.2 * most


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20.0),
        ({"retry-after": "1.5", "retry-after-ms": "30500"}, 30.5),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:42 GMT"}, 32.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
        ({"retry-after": "soon"}, 0.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "nan"}, 0.0),
    ],
)
def test_retry_after_is_honoured(monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], seconds: float) -> None:
    """Seconds, milliseconds and dates are waited out; what makes no sense counts as nothing."""
    monkeypatch.setattr("time.time", lambda: 10.0)
    provider = Provider(answers=[(503, headers, b""), OK])
    one_call(provider, backoff=0.001)
    assert seconds <= provider.asked[1] <= seconds + 0.001


def test_refusal_may_say_when_to_come_back() -> None:
    """A wait that a provider's module found out is kept to."""
    provider = Provider(answers=[no_connection(after=7.0), OK])
    one_call(provider, backoff=0.001)
    assert provider.asked == [0.0, 7.0]


def test_rate_limit_holds_everybody_up() -> None:
    """After a 429 that says when to come back, no other call tries before that."""
    provider = Provider(answers=[(429, {"retry-after": "20"}, b""), OK])

    async def main() -> None:
        lane = lane_of()
        first = asyncio.create_task(call(lane, provider))
        await asyncio.sleep(1)
        await asyncio.gather(first, call(lane, provider))

    run_timeless(main())
    assert provider.asked == [0.0, 20.0, 20.0]


def test_waiting_is_told_apart_from_working() -> None:
    """Everything before the try that is answered counts as waiting, that try does not."""
    provider, tries = Provider(answers=[(429, {"retry-after": "10"}, b""), OK], takes=3.0), Tries()

    async def main() -> float:
        await call(lane_of(backoff=0.001), provider, tries, hold=2.0)
        return asyncio.get_running_loop().time()

    assert run_timeless(main()) == 18.0
    assert tries.waited == 13.0


def test_places_are_limited_until_the_answer_is_passed_on() -> None:
    """No more calls than allowed are under way, and one is until its block has ended."""
    assert starts(5, Provider(answers=[OK]), hold=10.0, concurrency=2) == [0.0, 0.0, 10.0, 10.0, 20.0]


def test_first_come_first_served() -> None:
    """Calls get their places in order of arrival."""
    order: list[int] = []

    async def main() -> None:
        lane, provider = lane_of(concurrency=1), Provider(answers=[OK])

        async def one(number: int) -> None:
            await call(lane, provider, hold=1.0)
            order.append(number)

        await asyncio.gather(*(one(number) for number in range(6)))

    run_timeless(main())
    assert order == [0, 1, 2, 3, 4, 5]


def test_call_that_tries_again_goes_before_later_ones() -> None:
    """While it waits it gives its place up, and then it is the oldest in the queue."""
    order: list[str] = []

    async def main() -> None:
        lane = lane_of(concurrency=1)

        async def one(name: str, provider: Provider) -> None:
            await call(lane, provider, hold=10.0)
            order.append(name)

        old = one("old", Provider(answers=[(503, {"retry-after": "5"}, b""), OK]))
        await asyncio.gather(old, *(one(name, Provider(answers=[OK])) for name in ("second", "third")))

    run_timeless(main())
    assert order == ["second", "old", "third"]


def test_requests_per_minute() -> None:
    """In any minute no more tries begin than allowed, retries included."""
    assert starts(5, Provider(answers=[OK]), requests_per_minute=2) == [0.0, 0.0, 60.0, 60.0, 120.0]
    provider = Provider(answers=[DOWN, OK])
    one_call(provider, requests_per_minute=1)
    assert provider.asked == [0.0, 60.0]


def test_tokens_per_minute() -> None:
    """Once the tokens of a minute are used, calls wait until enough of them are a minute old."""

    async def main() -> list[float]:
        lane, provider = lane_of(tokens_per_minute=100), Provider(answers=[OK])
        for used in (60, 60, 500, 1):
            await call(lane, provider, hold=5.0)
            lane.used(used)
        return provider.asked

    assert run_timeless(main()) == [0.0, 5.0, 65.0, 130.0]


def test_provider_that_fails_is_left_alone() -> None:
    """After failed tries in a row all calls wait; then one alone tries, and when it succeeds all go on."""
    provider = Provider(answers=[DOWN] * 3 + [OK], takes=1.0)
    asked = starts(6, provider, concurrency=3, pause_after=3, pause=30.0, backoff=0.001)
    assert [round(moment) for moment in asked] == [0, 0, 0, 31, 32, 32, 32, 33, 33]


def test_pause_goes_on_while_the_probe_fails() -> None:
    """A probe that fails begins another pause; nobody else tries meanwhile."""
    provider = Provider(answers=[DOWN] * 4 + [OK])
    asked = starts(4, provider, pause_after=2, pause=30.0, backoff=0.001, concurrency=2)
    assert [round(moment) for moment in asked] == [0, 0, 30, 60, 90, 90, 90, 90]


def test_errors_of_frameworks_do_not_pause_the_provider() -> None:
    """A provider that answers 400 is there."""
    provider = Provider(answers=[DOWN, (400, {}, b""), DOWN, (400, {}, b""), DOWN, OK])
    asked = starts(3, provider, pause_after=2, pause=500.0, backoff=0.001)
    assert max(asked) < 1.0


def test_call_that_its_budget_ended_says_nothing_of_the_provider() -> None:
    """A try that was ended from here neither ends a pause nor begins one."""
    provider = Provider(answers=[DOWN, no_connection(retry=False), OK])

    async def main() -> None:
        lane = lane_of(pause_after=1, pause=30.0, backoff=0.001)
        with pytest.raises(Refused):
            await call(lane, provider)
        await asyncio.gather(*(call(lane, provider, hold=5.0) for _ in range(2)))

    run_timeless(main())
    assert provider.asked == [0.0, 30.0, 30.0, 30.0]


def test_probe_that_is_cancelled_leaves_its_turn() -> None:
    """When the call that tries first goes away, another one tries."""
    provider = Provider(answers=[DOWN, OK], takes=10.0)

    async def main() -> None:
        lane = lane_of(pause_after=1, pause=30.0, backoff=0.001)
        first = asyncio.create_task(call(lane, provider))
        await asyncio.sleep(20)
        second = asyncio.create_task(call(lane, provider))
        await asyncio.sleep(25)
        first.cancel()
        await asyncio.wait([first, second])

    run_timeless(main())
    assert provider.asked == [0.0, 40.0, 45.0]


def test_waiting_call_that_goes_away_frees_its_place() -> None:
    """A call that is cancelled in the queue holds up nobody."""
    provider = Provider(answers=[OK])

    async def main() -> None:
        lane = lane_of(concurrency=1)
        first = asyncio.create_task(call(lane, provider, hold=10.0))
        second = asyncio.create_task(call(lane, provider))
        third = asyncio.create_task(call(lane, provider))
        await asyncio.sleep(5)
        second.cancel()
        await asyncio.wait([first, second, third])

    run_timeless(main())
    assert provider.asked == [0.0, 10.0]


def test_call_that_goes_away_while_asking_frees_its_place() -> None:
    """A call that is cancelled under way makes room for the next."""
    provider = Provider(answers=[OK], takes=100.0)

    async def main() -> None:
        lane = lane_of(concurrency=1)
        first = asyncio.create_task(call(lane, provider))
        second = asyncio.create_task(call(lane, provider))
        await asyncio.sleep(5)
        first.cancel()
        await asyncio.wait([first, second])

    run_timeless(main())
    assert provider.asked == [0.0, 5.0]


def _waits_in_vain(**traffic: Any) -> tuple[Refused, Tries, Provider]:
    provider, tries = Provider(answers=[OK]), Tries()

    async def main() -> Refused:
        lane = lane_of(**traffic)
        first = asyncio.create_task(call(lane, provider, hold=1000.0))
        await asyncio.sleep(1)
        with pytest.raises(Refused) as caught:
            await call(lane, provider, tries)
        await first
        return caught.value

    return run_timeless(main()), tries, provider


def test_patience_ends_in_the_queue() -> None:
    """A call that gets no place in time fails, is told why, and never reached the provider."""
    refused, tries, provider = _waits_in_vain(concurrency=1, patience=60.0)
    assert "waited 60 s for the provider (model.traffic.patience)" in refused.message
    assert (refused.status, refused.fault, refused.retry) == (503, "runner", False)
    assert (tries.waited, tries.begun, len(provider.asked)) == (60.0, 0, 1)


def test_patience_ends_in_a_pause() -> None:
    """A call that meets a paused provider to the end says so."""
    provider = Provider(answers=[DOWN])

    async def main() -> Refused:
        lane = lane_of(pause_after=1, pause=100.0, patience=50.0, retries=1, backoff=0.001)
        await asyncio.gather(call(lane, provider), return_exceptions=True)
        with pytest.raises(Refused) as caught:
            await call(lane, provider)
        return caught.value

    refused = run_timeless(main())
    assert refused.fault == "provider"
    assert refused.message.endswith("the provider has failed 1 tries in a row, the last one with status 503")


def test_wait_beyond_patience_is_not_begun() -> None:
    """A provider that wants to be asked after patience has ended is believed: its error comes back at once."""
    provider, tries = Provider(answers=[(503, {"retry-after": "3600"}, b"later")]), Tries()
    assert one_call(provider, tries, patience=60.0) == (503, b"later")
    assert tries.waited == 0.0


@pytest.mark.parametrize("name", ["scripted", "replay"])
def test_prepared_answers_are_not_limited(name: str) -> None:
    """Recorded and prepared answers come at once and as they are, errors too."""
    assert starts(5, Provider(answers=[OK], name=name), hold=9.0, concurrency=1, requests_per_minute=1) == [0.0] * 5
    provider, tries = Provider(answers=[BUSY, OK], name=name), Tries()
    assert one_call(provider, tries) == (429, b"slow down")
    assert (tries.begun, tries.statuses) == (1, [])


def test_trouble_with_passing_an_answer_on_is_no_retry() -> None:
    """Once the framework has seen something, nothing is repeated."""
    provider = Provider(answers=[OK])

    async def main() -> None:
        async with lane_of().answered(provider, ASK, Tries()):
            raise no_connection()

    with pytest.raises(Refused):
        run_timeless(main())
    assert len(provider.asked) == 1


def test_many_calls_under_all_limits_at_once() -> None:
    """Whatever fails in between, no limit is broken, every call ends, and all places are there again afterwards."""
    chance = random.Random(7)
    answers = [chance.choice([OK, OK, BUSY, DOWN, no_connection()]) for _ in range(3000)]
    provider, after = Provider(answers=answers, takes=1.0), Provider(answers=[OK], takes=1.0)

    async def main() -> None:
        lane = lane_of(concurrency=4, requests_per_minute=50, retries=50, patience=1e6, pause_after=5, pause=5.0)
        await asyncio.gather(*(call(lane, provider) for _ in range(200)))
        await asyncio.sleep(60)
        await asyncio.gather(*(call(lane, after) for _ in range(4)))

    run_timeless(main())
    moments = provider.asked
    assert all(moments[i + 50] - moments[i] >= 59.999 for i in range(len(moments) - 50))
    assert (provider.most, after.most) == (4, 4)
