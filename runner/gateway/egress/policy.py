"""Which hosts a session may reach: patterns, names as they are compared, and addresses that no name may lead to."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Reach = Literal["machine", "site", "public"]
"""How near an address may be: `machine`, this machine too; `site`, private networks too; `public`, neither."""

WEB_PORTS = frozenset({80, 443})
"""Ports that a pattern without one allows."""
_LONGEST_NAME = 253
"""Characters of a host name, RFC 1035."""
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
"""Where IPv4 addresses stand for hosts behind NAT64, RFC 6052."""


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """One entry of an allow-list."""

    host: str
    below: bool
    """Whether every host below `host` is meant, and not itself."""
    ports: frozenset[int]

    def fits(self, host: str, port: int) -> bool:
        """Tell whether a host, as `plain_host` writes it, is meant. An address never is a name below another."""
        if port not in self.ports:
            return False
        if self.below:
            return host.endswith(f".{self.host}") and as_address(host) is None
        return host == self.host

    @property
    def reach(self) -> Reach:
        """Return how near the addresses may be that the host's name leads to.

        Who names this machine, or an address, means it. Who names a host may mean one of the site's own. What stands
        below a domain is whatever its owner says, so it cannot lead to this machine or into the site's networks.
        """
        if as_address(self.host) is not None or self.host == "localhost":
            return "machine"
        return "public" if self.below else "site"


def parse_pattern(text: str) -> Pattern:
    """Read `example.org`, `example.org:8443` or `*.example.org`."""
    host, _, port = text.partition(":")
    below = host.startswith("*.")
    return Pattern(
        host=plain_host(host.removeprefix("*.")) or host,
        below=below,
        ports=frozenset({int(port)}) if port else WEB_PORTS,
    )


def match(patterns: Iterable[Pattern], host: str, port: int) -> Pattern | None:
    """Return the pattern that allows a host, the one that reaches nearest if there are several; None if none does."""
    order: tuple[Reach, ...] = ("machine", "site", "public")
    fitting = [pattern for pattern in patterns if pattern.fits(host, port)]
    return min(fitting, key=lambda pattern: order.index(pattern.reach), default=None)


def plain_host(text: str) -> str:
    """Return a host as it is compared: lower case, international names in ASCII, no dot at the end, no brackets.

    Returns:
        The host, or an empty text if it is none.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    address = as_address(bare)
    if address is not None:
        return str(address)
    name = bare.removesuffix(".").lower()
    try:
        name = name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
    labels = name.split(".")
    fine = all(label and label.replace("-", "").replace("_", "").isalnum() for label in labels)
    # A number as the last label is an address in one of its odd spellings, like 127.1 or 0x7f.1: resolvers take them.
    odd = labels[-1].isdigit() or labels[-1].startswith("0x")
    return name if fine and not odd and len(name) <= _LONGEST_NAME else ""


def as_address(host: str) -> Address | None:
    """Return the address that a text is, or None if it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_reachable(address: Address, reach: Reach) -> bool:
    """Tell whether an address is as far away as it has to be."""
    real = _embedded(address)
    if reach == "machine":
        return not real.is_multicast and not real.is_unspecified
    if real.is_loopback or real.is_link_local or real.is_multicast or real.is_unspecified:
        return False
    return reach == "site" or real.is_global


def _embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
