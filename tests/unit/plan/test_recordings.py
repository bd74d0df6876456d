"""A run that replays recorded calls is another run than one that does not, and than one that replays others."""

from __future__ import annotations

from support.planning import make_experiment, make_framework, make_scenario

from runner.plan.changes import explain_change
from runner.plan.digest import digest_of
from runner.plan.matrix import plan
from runner.plan.models import ImageRef, Run
from runner.spec.egress import Packages
from runner.spec.model import Model


def _plan(
    recording: str | None = None, *, mode: str = "strict", packages: Packages | None = None, sha: str | None = None
) -> Run:
    model = Model.model_validate({"provider": "replay", "name": "m", "replay_mode": mode})
    runs = plan(
        make_experiment(model=model, repetitions=1, packages=packages),
        {"alpha": make_framework("alpha")},
        {"build": make_scenario("build"), "greet": make_scenario("greet")},
        {"alpha": ImageRef(tag="alpha", id="sha256:1")},
        {},
        platform="linux/amd64",
        recordings={("alpha", "build", 1): recording} if recording else {},
        packages_sha256=sha,
    )
    return runs[0]


def test_the_recording_is_part_of_the_identity() -> None:
    """Digest and id follow the recording, and the digest can be made again from the run's own parts."""
    none, one, two = _plan(), _plan("a" * 64), _plan("b" * 64)
    assert (none.recording_sha256, one.recording_sha256) == (None, "a" * 64)
    assert len({none.digest, one.digest, two.digest}) == 3
    assert len({none.id, one.id, two.id}) == 3
    assert digest_of(one) == one.digest
    assert explain_change(one, two) == "the recorded calls changed"


def test_the_mode_is_part_of_the_identity() -> None:
    """A replay by order alone is no proof of a strict one."""
    assert _plan("a" * 64).digest != _plan("a" * 64, mode="sequence").digest


def test_packages_are_what_is_in_their_folder() -> None:
    """The content of a folder of packages counts, its place does not."""
    here, there = Packages(folder="here"), Packages(folder="there")
    one = _plan(packages=here, sha="a" * 64)
    assert one.digest == _plan(packages=there, sha="a" * 64).digest
    assert one.digest != _plan(packages=here, sha="b" * 64).digest
    assert digest_of(one) == one.digest
