"""Which hosts a pattern allows, however they are written, and which addresses a name may lead to."""

from __future__ import annotations

import ipaddress
from typing import get_args

import pytest

from runner.gateway.egress.policy import Reach, is_reachable, match, parse_pattern, plain_host


@pytest.mark.parametrize(
    ("pattern", "host", "port", "fits"),
    [
        ("example.org", "example.org", 443, True),
        ("example.org", "example.org", 80, True),
        ("example.org", "example.org", 8080, False),
        ("example.org", "EXAMPLE.org.", 443, True),
        ("example.org", "www.example.org", 443, False),
        ("example.org", "badexample.org", 443, False),
        ("example.org", "example.org.evil.net", 443, False),
        ("example.org:8443", "example.org", 8443, True),
        ("example.org:8443", "example.org", 443, False),
        ("*.example.org", "www.example.org", 443, True),
        ("*.example.org", "a.b.example.org", 443, True),
        ("*.example.org", "example.org", 443, False),
        ("*.example.org", "badexample.org", 443, False),
        ("*.example.org:22", "git.example.org", 22, True),
        ("xn--mnchen-3ya.example", "münchen.example", 443, True),
        ("xn--mnchen-3ya.example", "MÜNCHEN.example", 443, True),
        ("10.0.0.5:80", "10.0.0.5", 80, True),
        ("*.0.0.5", "10.0.0.5", 80, False),
        ("localhost:5000", "LocalHost", 5000, True),
        ("127.0.0.1:5000", "localhost", 5000, False),
        ("localhost:5000", "127.0.0.1", 5000, False),
    ],
)
def test_pattern_fits(pattern: str, host: str, port: int, fits: bool) -> None:  # noqa: FBT001  a row of a table
    """A pattern fits the hosts and ports it names, in any spelling, and no others."""
    assert (match([parse_pattern(pattern)], plain_host(host), port) is not None) is fits


@pytest.mark.parametrize(
    "written",
    ["", ".", "a..b", "-", "a b", "a/b", "a@b", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "[::1",
     "x" * 64 + "é" * 64, "a." * 140, "example.org\0", "exa_mple.1"],
)  # fmt: skip
def test_no_host(written: str) -> None:
    """What is no host, or an address in a spelling that only some resolvers know, is no host that a pattern fits."""
    assert plain_host(written) == ""


@pytest.mark.parametrize(
    ("written", "plain"), [("[::1]", "::1"), ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1"), ("A_b.C", "a_b.c")]
)
def test_plain_host(written: str, plain: str) -> None:
    """A host is compared without brackets and in lower case."""
    assert plain_host(written).replace("::ffff:7f00:1", "::ffff:127.0.0.1") == plain


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("127.0.0.1", {"machine"}),
        ("127.8.8.8", {"machine"}),
        ("::1", {"machine"}),
        ("::ffff:127.0.0.1", {"machine"}),
        ("64:ff9b::7f00:1", {"machine"}),
        ("2002:7f00:1::", {"machine"}),
        ("169.254.169.254", {"machine"}),
        ("fe80::1", {"machine"}),
        ("0.0.0.0", set()),
        ("::", set()),
        ("224.0.0.1", set()),
        ("10.1.2.3", {"machine", "site"}),
        ("192.168.0.1", {"machine", "site"}),
        ("100.64.0.1", {"machine", "site"}),
        ("fd00::1", {"machine", "site"}),
        ("93.184.216.34", {"machine", "site", "public"}),
        ("2606:2800:220:1::1", {"machine", "site", "public"}),
    ],
)
def test_addresses_by_reach(address: str, allowed: set[str]) -> None:
    """A name below a domain reaches public addresses, a named host the site's too, this machine only who names it."""
    found = {reach for reach in get_args(Reach) if is_reachable(ipaddress.ip_address(address), reach)}
    assert found == allowed


@pytest.mark.parametrize(
    ("patterns", "reach"),
    [
        (["*.lab.example"], "public"),
        (["*.lab.example", "git.lab.example"], "site"),
        (["git.lab.example", "*.lab.example"], "site"),
    ],
)
def test_most_exact_pattern_counts(patterns: list[str], reach: str) -> None:
    """Of several patterns that fit a host, the one that names it decides where its name may lead."""
    found = match([parse_pattern(one) for one in patterns], "git.lab.example", 443)
    assert found is not None
    assert found.reach == reach


@pytest.mark.parametrize("pattern", ["localhost:1", "127.0.0.1:1", "10.0.0.1"])
def test_who_names_an_address_means_it(pattern: str) -> None:
    """A pattern that is an address, or localhost, may reach this machine."""
    assert parse_pattern(pattern).reach == "machine"
