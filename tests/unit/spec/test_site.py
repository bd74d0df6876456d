"""The rules of a machine, in one file for all its users."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.spec.site import Share, Site, load_site


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    """A machine has no rules until somebody writes some; a file that was named has to be there."""
    path = tmp_path / "site.yaml"
    assert load_site(path, required=False) == Site()
    with pytest.raises(ConfigError, match=r"site\.yaml"):
        load_site(path, required=True)


def test_users_have_shares(tmp_path: Path) -> None:
    """Sizes are written as everywhere; who is not named has the share of everybody."""
    path = tmp_path / "site.yaml"
    path.write_text("keep_memory: 4GiB\nper_user: {cpus: 8}\nusers:\n  ada: {memory: 64GiB, containers: 4}\n")
    site = load_site(path, required=True)
    assert site.keep_memory == 4 * 1024**3
    assert site.share_of("ada") == Share(memory=64 * 1024**3, containers=4)
    assert site.share_of("bob") == Share(cpus=8)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cpu: 4\n", r"site\.yaml:1: .*cpu.*"),
        ("per_user:\n  memory: lots\n", r"site\.yaml:2: .*lots"),
        ("users: {ada: {cpus: 0}}\n", r"site\.yaml:1: .*0"),
        ("[1]\n", r"site\.yaml:1"),
        ("sources: {rewrite: {'': /mirror}}\n", r"site\.yaml:1: .*it is empty"),
        ("sources: {rewrites: {}}\n", r"site\.yaml:1: .*rewrites"),
    ],
)
def test_a_mistake_is_named_by_its_line(tmp_path: Path, text: str, said: str) -> None:
    """Everybody on the machine meets it, so it has to say where it is."""
    path = tmp_path / "site.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_site(path, required=False)
    whole = f"{caught.value.where}: {caught.value.what}" if caught.value.where else caught.value.what
    assert re.search(said, whole), whole


def test_mirrors_of_sources_are_named(tmp_path: Path) -> None:
    """The beginning of an address leads to what stands in its place; without the key there are none."""
    path = tmp_path / "site.yaml"
    path.write_text("sources:\n  rewrite:\n    https://example.org/: /srv/mirror/\n")
    assert load_site(path, required=True).sources.rewrite == {"https://example.org/": "/srv/mirror/"}
    assert Site().sources.rewrite == {}
