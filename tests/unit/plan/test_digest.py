"""Identity: canonical JSON, seeds, and what a digest depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.planning import make_experiment, make_framework, make_plan, make_scenario

from runner.plan.digest import canonical, digest_of, repetition_seed
from runner.plan.models import Run
from runner.spec.model import Model
from runner.spec.models import Experiment, Framework, Limits, LimitsPatch, PypiSource, SmokeTest
from runner.spec.scenario import Step

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_canonical_json_is_this_text() -> None:
    """Keys sorted by code point, no spaces, UTF-8 without escapes, floats as their shortest repr."""
    value = {"b": 600.0, "a": [1, True, None, 0.1, 1e16], "é": "naïve \u2028\n", "Z": {}}
    assert canonical(value) == '{"Z":{},"a":[1,true,null,0.1,1e+16],"b":600.0,"é":"naïve \u2028\\n"}'.encode()


@given(_JSON.filter(lambda value: "\\ud" not in json.dumps(value)))
def test_canonical_json_is_json_and_one_text_per_value(value: object) -> None:
    """It reads back as the same value, and a value built in another order gives the same bytes."""
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text, object_pairs_hook=lambda pairs: dict(reversed(pairs)))) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")]])
def test_numbers_that_json_lacks_are_refused(value: object) -> None:
    """NaN and infinity would give a digest that no other program can make."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(value)


def test_seed_of_a_repetition_follows_the_documented_formula() -> None:
    """A reader can compute a repetition's seed by hand: sha256sum of `<seed>:<repetition>`, first eight digits."""
    assert repetition_seed(1, 2) == int(hashlib.sha256(b"1:2").hexdigest()[:8], 16)


@given(seed=st.integers(0, 2**32 - 1), repetition=st.integers(1, 10**6))
def test_seeds_fit_everywhere(seed: int, repetition: int) -> None:
    """Every seed is an unsigned 32-bit number, as PYTHONHASHSEED wants it."""
    assert 0 <= repetition_seed(seed, repetition) < 2**32


def first(experiment: Experiment | None = None, **changes: object) -> Run:
    """Return the first run: alpha on build."""
    return make_plan(experiment, **changes)[0]  # type: ignore[arg-type]  # the keywords of make_plan, passed on


BETA = make_framework("beta", network="none")
GREET = make_scenario("greet")


def _with_framework(**changes: object) -> Callable[[], Run]:
    return lambda: first(frameworks=(make_framework("alpha", **changes), BETA))


def _with_scenario(**changes: object) -> Callable[[], Run]:
    return lambda: first(scenarios=(make_scenario("build", **changes), GREET))


def _with_step(**changes: object) -> Callable[[], Run]:
    one, *others = make_scenario().steps
    return _with_scenario(steps=(one.model_copy(update=changes), *others))


def _with_experiment(**changes: object) -> Callable[[], Run]:
    return lambda: first(make_experiment(**changes))


CHANGING: dict[str, Callable[[], Run]] = {
    "prompt": _with_step(prompt="Begin!"),
    "step id": _with_step(id="start"),
    "step limit": _with_step(limits=LimitsPatch(pids=9)),
    "expect_changes": _with_step(expect_changes=False),
    "step enabled": _with_scenario(steps=tuple(s.model_copy(update={"enabled": True}) for s in make_scenario().steps)),
    "steps swapped": _with_scenario(steps=make_scenario().steps[::-1]),
    "command": _with_framework(command=("alpha", "--fast")),
    "environment": _with_framework(environment={"A": "1"}),
    "writable": _with_framework(writable=("/opt/framework/x",)),
    "network": _with_framework(network="none"),
    "source": _with_framework(source=PypiSource(pypi="alpha", version="2.0")),
    "framework limit": _with_framework(limits=LimitsPatch(cpus=2.0)),
    "limit": _with_experiment(limits=Limits(memory=2**30)),
    "workspace limit": _with_experiment(limits=Limits(workspace=2**30)),
    "state limit": _with_step(limits=LimitsPatch(state=2**30)),
    "files limit": _with_framework(limits=LimitsPatch(files=1000)),
    "run timeout": _with_experiment(limits=Limits(run_timeout=60.0)),
    "seed": _with_experiment(seed=2),
    "model": _with_experiment(model=Model(provider="openai", name="m")),
    "image": lambda: first(image="sha256:2"),
    "answers": lambda: first(answers="b" * 64),
    "platform": lambda: first(platform="linux/arm64"),
}
NOT_CHANGING: dict[str, Callable[[], Run]] = {
    "nothing": _with_experiment(),
    "jobs": _with_experiment(jobs=7),
    "output": _with_experiment(output="elsewhere"),
    "archive": _with_experiment(archive="gzip"),
    "experiment timeout": _with_experiment(limits=Limits(experiment_timeout=60.0)),
    "experiment name": _with_experiment(name="other"),
    "description": _with_experiment(description="Other words."),
    "more repetitions": _with_experiment(repetitions=9),
    "other scenarios": _with_experiment(scenarios=("build",)),
    "answers folder": _with_experiment(model=Model(answers="elsewhere")),
    "key": _with_experiment(model=Model(key_env="OTHER_KEY", key_file="key.txt")),
    "step title": _with_step(title="Other words"),
    "disabled step": _with_scenario(
        steps=(*make_scenario().steps, Step(id="never", prompt="Never.", enabled=False)),
    ),
    "scenario title": _with_scenario(title="Other words"),
    "framework words": _with_framework(title="Other words", homepage="https://x.example", license="MIT"),
    "smoke test": _with_framework(smoke_test=SmokeTest(command=("true",))),
}


@pytest.mark.parametrize("what", CHANGING)
def test_what_can_change_a_result_changes_the_digest(what: str) -> None:
    """Each input that a step could notice makes it another run."""
    assert CHANGING[what]().digest != first().digest


@pytest.mark.parametrize("what", NOT_CHANGING)
def test_what_cannot_change_a_result_keeps_the_digest(what: str) -> None:
    """Paths, parallelism, names and words do not make it another run, so nothing done is done again."""
    assert NOT_CHANGING[what]().digest == first().digest


def test_an_endpoint_is_part_of_the_identity_and_its_last_slash_is_not() -> None:
    """Two endpoints may serve different models under one name; how the address ends is no difference."""
    one, same, other = (
        first(make_experiment(model=Model(provider="openai", name="m", base_url=url))).digest
        for url in ("http://a/v1", "http://a/v1/", "http://b/v1")
    )
    assert one == same
    assert one != other


def test_a_digest_can_be_made_again_from_the_run(planned_json: str) -> None:
    """A run that crossed a process as JSON still has the digest of its parts, and a forged one has not."""
    run = Run.model_validate_json(planned_json)
    assert digest_of(run) == run.digest
    assert digest_of(run.model_copy(update={"seed": run.seed + 1})) != run.digest
    assert digest_of(make_plan(image=None)[0]) is None


@pytest.fixture
def planned_json() -> str:
    """Return a planned run as it is written to disk."""
    return first().model_dump_json()


def test_a_digest_is_the_same_on_every_machine_and_in_every_version() -> None:
    """This exact digest is what records out there hold: a change of the format must raise its version knowingly."""
    framework = Framework(
        name="alpha",
        source=PypiSource(pypi="alpha", version="1.0"),
        command=("alpha",),
        smoke_test=SmokeTest(command=("alpha",)),
    )
    experiment = make_experiment(frameworks=("alpha",), scenarios=("build",), repetitions=1)
    run = make_plan(experiment, frameworks=(framework,), scenarios=(make_scenario(),))[0]
    assert run.digest == "2177e97a7f508813bbd743dc9725d6b3ce29e49f5d752f076df1b5bbf8986c36"


def test_limits_that_came_later_are_not_in_older_digests() -> None:
    """Until one is set, a step's identity has the limits that it had before they existed, so what is done stays done."""
    from runner.plan.digest import cell_identity

    run = first()
    identity = cell_identity(
        framework=run.framework,
        scenario=run.scenario,
        steps=run.steps,
        image_id="sha256:1",
        model=run.model,
        answers_sha256=None,
        platform=run.platform,
        run_timeout=run.run_timeout,
        budgets=run.budgets,
        packages=None,
        packages_sha256=None,
    )
    steps = json.loads(canonical(identity))["steps"]
    earlier = {"step_timeout", "run_timeout", "grace", "cpus", "memory", "swap", "pids", "tmp", "shm", "log"}
    assert set(steps[0]["limits"]) == earlier
