"""Calls under way: what a killed gateway leaves, and how each of them gets one line and no second one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.gateway.bodies import Bodies, read_body
from runner.gateway.calls import Call, append_call, read_calls
from runner.gateway.known import Known
from runner.gateway.leftovers import hold, remove_leftovers
from runner.gateway.pending import ENDED, SUFFIX, Pending
from runner.gateway.session import Session, SessionSpec

SESSION = Session(id="a", token="run-secret", directory=Path("/nowhere/a"))
Spec = Callable[..., SessionSpec]
FACTS = {"time": "2026-01-02T03:04:05.678Z", "method": "POST", "path": "/v1/chat/completions", "stream": True}


def _numbers(spec: SessionSpec) -> list[int]:
    return [call.n for call in read_calls(spec.calls_file).calls]


def _recover(pending: Pending, spec: SessionSpec) -> list[Call]:
    return pending.recover(spec, spec.calls_file)


def test_ended_call_leaves_nothing(tmp_path: Path, make_spec: Spec) -> None:
    """A call that began and ended is not pending, ending it again is no error, and nothing is recovered."""
    pending = Pending(tmp_path / f"a{SUFFIX}")
    pending.begin(1, FACTS)
    pending.end(1)
    pending.end(1)
    assert pending.left() == []
    assert _recover(pending, make_spec()) == []
    assert not make_spec().calls_file.exists()


def test_left_call_gets_its_line_once(tmp_path: Path, make_spec: Spec) -> None:
    """A call that nobody ended becomes a line of unknown usage with the facts that were noted, however often asked."""
    spec = make_spec(attempt=2)
    Pending(tmp_path / f"a{SUFFIX}").begin(7, {**FACTS, "model_asked": "gpt", "not a field": 1})
    (call,) = _recover(Pending(tmp_path / f"a{SUFFIX}"), spec)
    assert _recover(Pending(tmp_path / f"a{SUFFIX}"), spec) == []
    assert read_calls(spec.calls_file).calls == (call,)
    assert (call.n, call.attempt, call.step, call.run) == (7, 2, spec.step, spec.run)
    assert (call.time, call.path, call.stream, call.model_asked) == (FACTS["time"], FACTS["path"], True, "gpt")
    assert (call.error, call.fault, call.usage_source, call.tokens_in) == (ENDED, "runner", "unknown", None)


def test_what_a_process_left_is_taken_up_without_keeping_the_journal_open(tmp_path: Path, make_spec: Spec) -> None:
    """Recovering a session's calls leaves no file open, whether it can be done or not."""
    left = Pending(tmp_path / f"a{SUFFIX}")
    left.begin(1, FACTS)
    left.close()
    spec = make_spec()
    known = Known(spec=spec, session=SESSION, on_call=lambda *_: None)
    before = len(list(Path("/proc/self/fd").iterdir()))
    spec.calls_file.mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        known.recover(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    spec.calls_file.rmdir()
    known.recover(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert _numbers(spec) == [1]


def test_call_with_a_line_gets_no_second_one(tmp_path: Path, make_spec: Spec) -> None:
    """If the process died after it had recorded the call, the call stays as recorded; another attempt's is no obstacle."""
    spec, other = make_spec(attempt=1), make_spec(attempt=2)
    pending = Pending(tmp_path / f"a{SUFFIX}")
    pending.begin(1, FACTS)
    (recorded,) = _recover(pending, spec)
    pending.begin(1, FACTS)
    assert _recover(pending, spec) == []
    pending.begin(1, FACTS)
    assert [call.attempt for call in _recover(pending, other)] == [2]
    assert read_calls(spec.calls_file).calls[0] == recorded


def test_line_cut_short_swallows_no_other(tmp_path: Path, make_spec: Spec) -> None:
    """After a line that a kill cut short, recovered lines begin on a line of their own, and the cut call gets a whole one."""
    spec = make_spec()
    pending = Pending(tmp_path / f"a{SUFFIX}")
    pending.begin(1, FACTS)
    (call,) = _recover(pending, spec)
    spec.calls_file.write_bytes(spec.calls_file.read_bytes() + call.model_dump_json().encode()[:300])
    pending.begin(2, FACTS)
    _recover(pending, spec)
    read = read_calls(spec.calls_file)
    assert [call.n for call in read.calls] == [1, 2]
    assert len(read.problems) == 1


def test_calls_in_turn_need_one_file_of_bounded_size(tmp_path: Path) -> None:
    """The journal serves call after call and begins anew when it is long, and each that is left has its own facts."""
    pending = Pending(tmp_path / f"a{SUFFIX}")
    sizes = []
    for n in range(1, 50):
        pending.begin(n, {**FACTS, "path": "/" * 100_000})
        pending.end(n)
        (file,) = pending.folder.iterdir()
        sizes.append(file.stat().st_size)
    assert 1_000_000 < max(sizes) < 1_200_000
    assert sizes.count(0) == 4
    pending.begin(50, {"path": "/first"})
    pending.begin(51, {"path": "/second"})
    pending.end(50)
    pending.begin(52, {"path": "/"})
    assert [(left.n, left.facts) for left in pending.left()] == [(51, {"path": "/second"}), (52, {"path": "/"})]


def _begun(n: int, facts: str) -> bytes:
    return f'{{"n": {n}, "began": 1700000000.5, "facts": {facts}}}\n'.encode()


@pytest.mark.parametrize("content", [b"", b'{"n": 3, "began": 17', _begun(3, "{}")[:-1], _begun(3, "{}")[:-2]])
def test_line_of_the_journal_that_was_cut_short_is_of_no_call(tmp_path: Path, make_spec: Spec, content: bytes) -> None:
    """A kill while the line was being written came before the provider was asked: there is nothing to record."""
    folder = tmp_path / f"a{SUFFIX}"
    folder.mkdir()
    (folder / "calls").write_bytes(_begun(1, "{}") + content)
    pending = Pending(folder)
    pending.begin(4, FACTS)
    assert [call.n for call in _recover(pending, make_spec())] == [1, 4]


@pytest.mark.parametrize("facts", ["[1]", '{"stream": "perhaps", "path": "/x"}'])
def test_unusable_facts_lose_no_call(tmp_path: Path, make_spec: Spec, facts: str) -> None:
    """A line that holds what no call can be made of still gives one with the call's number and time."""
    folder = tmp_path / f"a{SUFFIX}"
    folder.mkdir()
    (folder / "calls").write_bytes(b'[1]\n{"n": "no number"}\n' + _begun(3, facts))
    (call,) = _recover(Pending(folder), make_spec())
    assert (call.n, call.time, call.usage_source) == (3, "2023-11-14T22:13:20.500Z", "unknown")


def test_nothing_is_noted_after_the_end(tmp_path: Path) -> None:
    """A closed journal takes no further call, closing it again does nothing, and a late end is no error."""
    pending = Pending(tmp_path / f"a{SUFFIX}")
    pending.begin(1, FACTS)
    pending.close()
    pending.close()
    pending.end(1)
    with pytest.raises(OSError, match="Bad file"):
        pending.begin(2, FACTS)
    assert [left.n for left in Pending(pending.folder).left()] == [1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_full_disk_is_told_before_a_provider_is_asked(tmp_path: Path) -> None:
    """A call that cannot be noted is an error of the one who begins it."""
    pending = Pending(tmp_path / f"a{SUFFIX}")
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        journal = next(fd for fd in Path("/proc/self/fd").iterdir() if _leads_to(fd, pending.folder / "calls"))
        os.dup2(full, int(journal.name))
        with pytest.raises(OSError, match="No space"):
            pending.begin(1, FACTS)
    finally:
        os.close(full)
        pending.close()


def _leads_to(fd: Path, path: Path) -> bool:
    try:
        return fd.readlink() == path
    except OSError:
        return False


def test_folder_is_the_owners_alone(tmp_path: Path) -> None:
    """Nobody else may look into the folder or its files."""
    pending = Pending(tmp_path / f"a{SUFFIX}")
    pending.begin(1, FACTS)
    assert pending.folder.stat().st_mode & 0o777 == 0o700
    assert (pending.folder / "calls").stat().st_mode & 0o777 == 0o600


def test_calls_of_a_gateway_that_died_with_its_runner(tmp_path: Path, make_spec: Spec) -> None:
    """The next gateway gives calls in a left-over folder their lines before it removes the folder."""
    spec = make_spec()
    spec.calls_file.parent.mkdir(parents=True)
    folder = tmp_path / "cgr-dead"
    folder.mkdir()
    os.close(hold(folder))
    pending = Pending(folder / f"a{SUFFIX}")
    pending.remember(spec, SESSION)
    pending.begin(1, FACTS)
    pending.begin(2, FACTS)
    assert remove_leftovers(tmp_path) == [folder]
    assert _numbers(spec) == [1, 2]
    assert not folder.exists()


def test_removed_run_directory_is_not_made_anew(tmp_path: Path, make_spec: Spec) -> None:
    """If the run directory has gone since, its pending calls go with the folder."""
    folder = tmp_path / "cgr-dead"
    folder.mkdir()
    os.close(hold(folder))
    pending = Pending(folder / f"a{SUFFIX}")
    pending.remember(make_spec(), SESSION)
    pending.begin(1, FACTS)
    assert remove_leftovers(tmp_path) == [folder]
    assert not make_spec().calls_file.parent.exists()


def test_held_folder_keeps_its_calls(tmp_path: Path, make_spec: Spec) -> None:
    """Calls of a gateway that lives are nobody else's to record."""
    spec = make_spec()
    spec.calls_file.parent.mkdir(parents=True)
    folder = tmp_path / "cgr-live"
    folder.mkdir()
    holder = hold(folder)
    pending = Pending(folder / f"a{SUFFIX}")
    pending.remember(spec, SESSION)
    pending.begin(1, FACTS)
    assert remove_leftovers(tmp_path) == []
    os.close(holder)
    assert _numbers(spec) == []
    assert [left.n for left in pending.left()] == [1]


def test_line_that_cannot_be_written_stays_pending(tmp_path: Path, make_spec: Spec) -> None:
    """If the disk takes no line, the call stays pending."""
    spec = make_spec()
    spec.calls_file.parent.mkdir(parents=True)
    spec.calls_file.symlink_to("/dev/full")
    pending = Pending(tmp_path / f"a{SUFFIX}")
    pending.begin(1, FACTS)
    with pytest.raises(OSError, match="No space left"):
        _recover(pending, spec)
    assert [left.n for left in pending.left()] == [1]


def test_recovered_line_is_appended_like_any_other(tmp_path: Path, make_spec: Spec) -> None:
    """A recovered call can be read, and written again, as any call."""
    pending = Pending(tmp_path / f"a{SUFFIX}")
    pending.begin(1, FACTS)
    (call,) = _recover(pending, make_spec())
    append_call(tmp_path / "copy.jsonl", call)
    assert read_calls(tmp_path / "copy.jsonl").calls == (call,)


def test_bodies_of_a_recorded_call_get_their_files(tmp_path: Path, make_spec: Spec) -> None:
    """What a killed gateway had noted of a call that has its line is kept; of one that has none, nothing is."""
    spec = make_spec()
    folder = spec.calls_file.parent / "bodies"
    bodies = Bodies(folder, "full", [], [])
    first, second = bodies.pack(b"first"), bodies.pack(b"second")
    assert first is not None
    assert second is not None
    pending = Pending(tmp_path / f"a{SUFFIX}")
    pending.begin(1, FACTS)
    (call,) = _recover(pending, spec)
    pending.begin(1, FACTS)
    pending.keep(1, [first])
    pending.begin(2, FACTS)
    pending.keep(2, [second])
    assert not folder.exists()
    assert [call.n for call in _recover(Pending(pending.folder), spec)] == [2]
    assert read_body(folder, first.sha256) == b"first"
    assert [path.name for path in folder.iterdir()] == [f"{first.sha256}.zst"]
    assert read_calls(spec.calls_file).calls[0] == call


@pytest.mark.parametrize("bodies", ['"no object"', '{"00": "no base64!"}', "[1]"])
def test_bodies_that_are_none_harm_nothing(tmp_path: Path, make_spec: Spec, bodies: str) -> None:
    """A journal with something else in the place of bodies is recovered as far as it can be."""
    folder = tmp_path / f"a{SUFFIX}"
    Pending(folder).begin(1, FACTS)
    _recover(Pending(folder), make_spec())
    (folder / "calls").write_text(f'{{"n": 1, "bodies": {bodies}}}\n' + _begun(2, "{}").decode())
    assert [call.n for call in _recover(Pending(folder), make_spec())] == [2]
