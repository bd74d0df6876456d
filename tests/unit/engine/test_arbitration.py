"""Who may start a container next, from what all runners have written down."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.engine.admission import Room
from runner.engine.arbitration import Demand, Host, Rules, Scene, Ticket, judge, rules_of
from runner.spec.site import Share, Site

GIB = 1024**3
HOST = Host(room=Room(cpus=4.0, memory=8 * GIB), available=4 * GIB, load=0.5)
NOTHING = Room(cpus=0.0, memory=0)


def demand(key: str, *, cpus: float = 1, memory: int = GIB, since: float = 0, granted: bool = False) -> Demand:
    """Return a container's demand that was asked for just now."""
    return Demand(key=key, run="r", step="s", cpus=cpus, memory=memory, since=since, asked=100, granted=granted)


def ticket(uid: int, *demands: Demand, pid: int = 0) -> Ticket:
    """Return a runner's ticket."""
    return Ticket(uid=uid, user=f"user{uid}", pid=pid or uid, experiment="e", demands=demands)


def scene(*tickets: Ticket, others: Room = NOTHING, host: Host = HOST, site: Site | None = None) -> Scene:
    """Return a machine at 100 s since boot."""
    return Scene(tickets=tickets, others=others, host=host, site=site or Site(), now=100)


def asked(one: Demand, me: Ticket, where: Scene) -> str:
    """Return the answer to a runner whose ticket is in the scene."""
    assert me in where.tickets
    return judge(one, me, where)


def test_what_fits_may_start() -> None:
    """Beside others' containers there is room up to what the machine has."""
    one, me = demand("a"), ticket(1)
    assert asked(one, me, scene(me, ticket(2, demand("b", cpus=3, granted=True)))) == ""
    full = scene(me, ticket(2, demand("b", cpus=3.5, granted=True)))
    assert asked(one, me, full) == "1 cores wanted, 3.5 of 4 are reserved"
    memory = scene(me, ticket(2, demand("b", cpus=1, memory=int(7.5 * GIB), granted=True)))
    assert asked(one, me, memory) == "1.0 GiB of memory wanted, 7.5 GiB of 8.0 GiB are reserved"


def test_containers_without_a_runner_count() -> None:
    """What a dead runner's container still holds is not given away."""
    me = ticket(1)
    assert "4 of 4 are reserved" in asked(demand("a"), me, scene(me, others=Room(cpus=4.0, memory=GIB)))


def test_an_idle_machine_takes_any_one() -> None:
    """A container larger than the machine, on a busy machine without containers of ours, is better than none for ever."""
    me = ticket(1)
    busy = Host(room=HOST.room, available=0, load=99.0)
    assert asked(demand("a", cpus=64, memory=64 * GIB), me, scene(me, host=busy)) == ""


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (replace(HOST, available=100 * 1024**2), "100MiB of memory is available, 256MiB is kept free"),
        (replace(HOST, load=4.5), "the machine's load is 4.5 per core, above 4"),
        (replace(HOST, available=None, load=None), ""),
    ],
)
def test_what_else_the_machine_does_is_looked_at(host: Host, said: str) -> None:
    """No further container begins while memory is short or the load is high; what the kernel does not say is no reason."""
    me = ticket(1, demand("b", granted=True))
    assert asked(demand("a"), me, scene(me, host=host)) == said


def test_a_user_stays_within_his_share() -> None:
    """His containers count together, whichever of his runners has them; one larger than the share may run alone."""
    site = Site(per_user=Share(cpus=2, containers=3), users={"user2": Share(memory=2 * GIB)})
    me, mine = ticket(1, pid=1), ticket(1, demand("b", cpus=1.5, granted=True), pid=2)
    assert asked(demand("a"), me, scene(me, mine, site=site)) == "user1 may reserve 2 cores, and has 1.5"
    alone = ticket(1)
    assert asked(demand("a", cpus=3), alone, scene(alone, site=site)) == ""
    many = ticket(1, *(demand(f"c{n}", cpus=0.1, granted=True) for n in range(3)))
    assert "3 containers at once, and has 3" in asked(demand("a", cpus=0.1), many, scene(many, site=site))
    other = ticket(2, demand("d", memory=2 * GIB, granted=True))
    assert asked(demand("e"), other, scene(other, site=site)) == "user2 may reserve 2GiB of memory, and has 2GiB"


def test_who_holds_least_goes_first() -> None:
    """A user who has nothing comes before one who has something, however long that one has waited."""
    rich = ticket(1, demand("b", cpus=2, granted=True), demand("old", since=1))
    poor = ticket(2, demand("new", since=99))
    where = scene(rich, poor)
    assert asked(rich.demands[1], rich, where) == "another comes first"
    assert asked(poor.demands[0], poor, where) == ""


def test_a_share_is_that_of_the_scarcest_resource() -> None:
    """Half of the memory is more than a quarter of the cores."""
    memory = ticket(1, demand("b", cpus=0.1, memory=4 * GIB, granted=True), demand("c", since=1))
    cores = ticket(2, demand("d", cpus=1, memory=0, granted=True), demand("e", since=2))
    where = scene(memory, cores)
    assert asked(memory.demands[1], memory, where) == "another comes first"
    assert asked(cores.demands[1], cores, where) == ""


def test_among_equals_who_asked_first() -> None:
    """Two users with nothing take their turns in the order of asking, and so do two containers of one runner."""
    early, late = ticket(1, demand("a", since=1)), ticket(2, demand("b", since=2))
    assert asked(late.demands[0], late, scene(early, late)) == "another comes first"
    assert asked(early.demands[0], early, scene(early, late)) == ""


def test_a_large_one_is_not_overtaken() -> None:
    """While one waits for room, small ones behind it wait too, or it would wait for ever."""
    large = ticket(1, demand("large", cpus=4, since=1))
    small = ticket(2, demand("runs", cpus=1, granted=True), demand("small", cpus=1, since=2))
    where = scene(large, small)
    assert "4 cores wanted" in asked(large.demands[0], large, where)
    assert asked(small.demands[1], small, where) == "another comes first"


def test_who_cannot_have_it_holds_up_nobody() -> None:
    """One who waits for his own share, or has not asked again for long, is passed over."""
    site = Site(users={"user1": Share(cpus=1)})
    stuck = ticket(1, demand("b", cpus=1, granted=True), demand("c", since=1))
    hung = ticket(3, replace(demand("h", since=0), asked=80))
    me = ticket(2, demand("runs", cpus=2, granted=True), demand("a", since=50))
    assert asked(me.demands[1], me, scene(stuck, hung, me, site=site)) == ""


def own_rules(**changes: float) -> Rules:
    """Return what a runner goes by whose site file says something else than the others'."""
    return replace(rules_of(Site(), HOST, "user1"), **changes)  # type: ignore[arg-type]  # names are the fields'


@pytest.mark.parametrize(
    ("own", "host"),
    [
        (own_rules(cpus=2.0), HOST),
        (own_rules(memory=2 * GIB), HOST),
        (own_rules(most_load=0.1), HOST),
        (own_rules(keep_memory=5 * GIB), HOST),
    ],
    ids=["cores", "memory", "load", "free memory"],
)
def test_who_waits_for_rules_of_his_own_holds_up_nobody(own: Rules, host: Host) -> None:
    """Of two who wait, the first may not start by his own site file: the second, who may by his, starts."""
    first = replace(ticket(1, demand("a", since=1)), rules=own)
    second = ticket(2, demand("b", since=2), pid=2)
    third = ticket(3, demand("runs", cpus=2, memory=2 * GIB, granted=True))
    where = scene(first, second, third, host=host)
    assert asked(second.demands[0], second, where) == ""
    assert asked(second.demands[0], second, scene(replace(first, rules=None), second, third)) == "another comes first"


def test_a_share_of_ones_own_file_counts_for_others_too() -> None:
    """One whose own file bounds what he may have is passed over by runners whose file says nothing of him."""
    stuck = replace(
        ticket(1, demand("b", cpus=0.1, memory=0, granted=True), demand("c", since=1)),
        rules=own_rules(user_containers=1),
    )
    me = ticket(2, demand("runs", cpus=2, granted=True), demand("a", since=50))
    assert asked(me.demands[1], me, scene(stuck, me)) == ""
    free = replace(stuck, rules=own_rules())
    assert asked(me.demands[1], me, scene(free, me)) == "another comes first"


def test_who_goes_by_wider_rules_keeps_his_turn() -> None:
    """A large one that waits for room within rules no narrower than another's is not overtaken by that one."""
    large = ticket(1, demand("large", cpus=4, since=1))
    small = replace(
        ticket(2, demand("runs", cpus=1, granted=True), demand("small", since=2)), rules=own_rules(cpus=3.0)
    )
    where = scene(large, small, host=replace(HOST, room=Room(cpus=3.0, memory=8 * GIB)))
    wide = replace(large, rules=own_rules())
    assert asked(small.demands[1], small, replace(where, tickets=(wide, small))) == "another comes first"


def test_a_device_outside_of_ones_own_list_is_waited_for_by_nobody_else() -> None:
    """Who may have the first device only, and waits for it, does not keep another from the second."""
    host = replace(HOST, gpus=("0", "1"))
    holds = replace(demand("runs", granted=True), gpus=1, devices=("0",))
    first = replace(ticket(1, replace(demand("a", since=1), gpus=1)), rules=replace(own_rules(), gpus=("0",)))
    second = ticket(2, replace(demand("b", since=2), gpus=1))
    where = scene(first, second, ticket(3, holds), host=host)
    assert asked(second.demands[0], second, where) == ""
    same = replace(first, rules=replace(own_rules(), gpus=("0", "1")))
    assert asked(second.demands[0], second, scene(same, second, ticket(3, holds), host=host)) == "another comes first"


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from([0.5, 1.0, 2.0, 3.0]), st.integers(1, 4), st.integers(0, 99)),
        min_size=1,
        max_size=8,
    )
)
def test_turns_by_turns_all_are_served(wants: list[tuple[int, float, int, int]]) -> None:
    """Whoever wants whatever: never more is reserved than there is, and as containers end, each gets its turn."""
    waiting = {f"k{n}": (uid, demand(f"k{n}", cpus=cpus, memory=memory * GIB, since=since))
               for n, (uid, cpus, memory, since) in enumerate(wants)}  # fmt: skip
    held: dict[str, tuple[int, Demand]] = {}
    for _ in range(10 * len(wants)):
        tickets = [
            ticket(uid, *(one for whose, one in [*waiting.values(), *held.values()] if whose == uid))
            for uid in (1, 2, 3)
        ]
        served = [key for key, (uid, one) in waiting.items() if not judge(one, tickets[uid - 1], scene(*tickets))]
        assert served or held, "somebody is always served on an idle machine"
        if served:
            uid, one = waiting.pop(served[0])
            held[served[0]] = (uid, replace(one, granted=True))
            assert sum(one.cpus for _, one in held.values()) <= HOST.room.cpus
            assert sum(one.memory for _, one in held.values()) <= HOST.room.memory
        else:
            held.pop(next(iter(held)))
        if not waiting:
            return
    pytest.fail("not all were served")
