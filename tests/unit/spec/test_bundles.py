"""Git bundles, read as far as their references."""

from __future__ import annotations

import base64

import pytest

from runner.errors import ConfigError
from runner.plan.steps import plan_start
from runner.spec.bundles import Bundle, read_bundle, referred
from runner.spec.load import load_scenario
from runner.spec.loaded import explain
from runner.spec.project import Project

ONE, TWO = "1" * 40, "2" * 40
HEAD = f"# v2 git bundle\n{ONE} refs/heads/main\n{TWO} refs/tags/v1\n{TWO} refs/heads/v1\n\n"


def test_references_and_the_place_of_the_pack() -> None:
    """Every listed reference with its id; the pack begins behind the empty line, whatever is in it."""
    bundle = read_bundle(HEAD.encode() + b"PACK\n\n\0")
    assert bundle.references == {"refs/heads/main": ONE, "refs/tags/v1": TWO, "refs/heads/v1": TWO}
    assert bundle.pack == len(HEAD)


def test_version_3_may_say_which_digests_it_has() -> None:
    """SHA-1 is what is supported; anything else is refused by name."""
    head = "# v3 git bundle\n@object-format={}\n{} refs/heads/main\n\n"
    assert read_bundle(head.format("sha1", ONE).encode()).references == {"refs/heads/main": ONE}
    with pytest.raises(ValueError, match="it needs what is not supported: object-format=sha256"):
        read_bundle(head.format("sha256", ONE).encode())


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no git bundle"),
        (b"PK\3\4\n\n", "no git bundle"),
        (HEAD.encode().rstrip(), "no git bundle"),
        (b"# v2 git bundle\n" + b"x" * 100_000 + b"\n\n", "no git bundle"),
        (f"# v2 git bundle\n-{TWO} earlier\n{ONE} refs/heads/main\n\n".encode(), f"needs commit {TWO}"),
        (b"# v2 git bundle\n\xff\xfe refs/heads/main\n\n", "its list of references has"),
    ],
)
def test_what_is_no_complete_bundle_is_refused(data: bytes, why: str) -> None:
    """Something else, a cut off or endless head, commits that it builds upon, garbage."""
    with pytest.raises(ValueError, match=why):
        read_bundle(data)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("main", "refs/heads/main"),
        ("refs/tags/v1", "refs/tags/v1"),
        ("heads/v1", "refs/heads/v1"),
        ("v1", "refs/heads/v1"),
    ],
)
def test_a_reference_may_be_short(name: str, full: str) -> None:
    """A full name, one below refs, a branch, a tag, in this order."""
    assert referred(read_bundle(HEAD.encode()), name)[0] == full


def test_an_unknown_reference_is_none() -> None:
    """Nothing is taken in its place."""
    with pytest.raises(KeyError):
        referred(Bundle(references={"refs/heads/main": ONE}, pack=0), "")


def _begin(project: Project, text: str, data: bytes = HEAD.encode()) -> None:
    scenario = project.scenarios / "build.yaml"
    scenario.write_text(f"{scenario.read_text(encoding='utf-8')}start: {text}\n", encoding="utf-8")
    (project.scenarios / "seed.bundle").write_bytes(data)


def test_a_scenario_takes_its_bundle_in(project: Project) -> None:
    """The bundle stands in the loaded scenario and in what is planned, with its digest and the commit."""
    _begin(project, "{bundle: seed.bundle, ref: v1}")
    loaded = load_scenario(project, "build")
    planned = plan_start(loaded.value)
    assert planned is not None
    assert base64.b64decode(planned.content) == HEAD.encode()
    assert (planned.ref, planned.commit, len(planned.sha256)) == ("refs/heads/v1", TWO, 64)
    told = {one.key: one.source for one in explain(loaded) if one.key.startswith("start")}
    assert told.keys() == {"start.bundle", "start.ref"}
    assert told["start.ref"].startswith("config/scenarios/build.yaml:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{bundle: seed.bundle, ref: mian}", "the bundle has no reference `mian`"),
        ("{bundle: ../seed.bundle}", "it leaves the scenario's folder"),
        ("{bundle: sed.bundle}", "there is no such file"),
        ("{content: '?'}", "it is no base64"),
        ("{content: UEs=}", "it is no git bundle of version 2 or 3"),
        ("{ref: main}", "a start has exactly one of bundle, content; it has none of them"),
        ("{bundle: seed.bundle, ref: '--upload-pack=x'}", "ref"),
    ],
)
def test_a_start_that_cannot_be_is_refused_at_its_line(project: Project, text: str, message: str) -> None:
    """What is wrong, with the file and the line."""
    _begin(project, text)
    with pytest.raises(ConfigError) as caught:
        load_scenario(project, "build")
    said = f"{caught.value.what} {caught.value.where} {caught.value.why}"
    assert message in said
    assert "config/scenarios/build.yaml:" in said


def test_a_large_bundle_is_refused(project: Project) -> None:
    """Every record would hold it."""
    _begin(project, "{bundle: seed.bundle}", HEAD.encode() + bytes(1024**2))
    with pytest.raises(ConfigError, match="larger than 1MiB"):
        load_scenario(project, "build")
