"""Heads of proxy requests: read them, and write the gateway's own answers. RFC 9112."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from runner.gateway.egress.policy import plain_host

LONGEST = 64 * 1024
"""Bytes of a request's head."""
END = b"\r\n\r\n"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HIGHEST_PORT = 65535
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"}
    | {"upgrade"}
)
"""Headers that concern one connection only, RFC 9110 section 7.6.1; transfer-encoding stays, as bodies pass unread."""


class BadHead(ValueError):
    """A request that a proxy cannot make sense of; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """A proxy request's head."""

    method: str
    host: str
    """As `plain_host` writes it."""
    port: int
    target: str
    """Path and query to ask the host for; empty for CONNECT."""
    authority: str
    """Host and port as they were written."""
    headers: tuple[tuple[str, str], ...]
    """Names as they were written."""

    @property
    def is_tunnel(self) -> bool:
        """Return whether a tunnel is asked for."""
        return self.method == "CONNECT"

    def values(self, name: str) -> list[str]:
        """Return the values of a header, whatever its name's case."""
        return [value for key, value in self.headers if key.lower() == name]

    def is_from(self, token: str) -> bool:
        """Tell whether the request comes with the session's token: the password of any user."""
        for value in self.values("proxy-authorization"):
            if hmac.compare_digest(basic_password(value).encode(), token.encode()):
                return True
        return False

    def forwarded(self, *, credentials: str | None = None) -> bytes:
        """Return the head for whoever is asked next, without what concerns this connection only.

        Args:
            credentials: those of another proxy that is to be asked, perhaps empty; None: the host itself is asked.
        """
        named = {word.strip().lower() for value in self.values("connection") for word in value.split(",")}
        kept = [
            (name, value)
            for name, value in self.headers
            if name.lower() not in _HOP_BY_HOP | named and name.lower() != "host"
        ]
        target = self.target if credentials is None else f"http://{self.authority}{self.target}"
        lines = [f"{self.method} {target} HTTP/1.1", f"Host: {self.authority}"]
        lines += [f"{name}: {value}" for name, value in kept]
        lines += [f"Proxy-Authorization: {credentials}"] if credentials else []
        return ("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode("latin-1")


def basic_password(value: str) -> str:
    """Return the password of Basic credentials, RFC 7617; empty if there is none."""
    scheme, _, encoded = value.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def parse_head(data: bytes) -> Head:
    """Read a head that ends in an empty line.

    Raises:
        BadHead: if it is none that a proxy serves.
    """
    first, *rest = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not parts[2].startswith("HTTP/1."):  # noqa: PLR2004  method, target, version
        raise BadHead("the request's first line is not one of HTTP/1.1")
    headers = tuple(_header(line) for line in rest)
    method, target, _ = parts
    if method == "CONNECT":
        authority, path, default = target, "", 0
    elif target.lower().startswith("http://"):
        authority, path, default = _split(target)
    else:
        raise BadHead("a proxy is asked for http://HOST/... or with CONNECT HOST:PORT")
    host, port = _host_and_port(authority, default)
    lengths = {value.strip() for name, value in headers if name.lower() == "content-length"}
    coded = any(name.lower() == "transfer-encoding" for name, _ in headers)
    if len(lengths) > 1 or (lengths and coded):
        # Two readers might see two requests in it.
        raise BadHead("the request states its length in two ways")
    return Head(method=method, host=host, port=port, target=path, authority=authority, headers=headers)


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not _TOKEN.fullmatch(name) or any(char in value for char in "\r\n\0"):
        raise BadHead("one of the request's headers is malformed")
    return name, value.strip(" \t")


def _split(target: str) -> tuple[str, str, int]:
    try:
        url = urlsplit(target)
    except ValueError:
        raise BadHead("the request's address is malformed") from None
    authority = url.netloc.rpartition("@")[2]
    path = url.path or "/"
    return authority, f"{path}?{url.query}" if url.query else path, 80


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    bracketed = authority.startswith("[")
    name, colon, digits = authority.rpartition(":") if not bracketed else _after_bracket(authority)
    if not colon:
        name, digits = authority, str(default)
    host = plain_host(name)
    if not host or (not bracketed and ":" in name):
        raise BadHead(f"{name[:80]!r} is no host")
    if not (digits.isascii() and digits.isdigit() and 0 < int(digits[:6]) <= _HIGHEST_PORT):
        raise BadHead(f"{digits[:10]!r} is no port")
    return host, int(digits)


def _after_bracket(authority: str) -> tuple[str, str, str]:
    name, _, rest = authority.partition("]")
    return f"{name}]", rest[:1], rest[1:]


def closing(data: bytes) -> tuple[bytes, int]:
    """Return the head of a host's answer, changed so that nobody expects another on this connection, and its status.

    Raises:
        BadHead: if it is no head of an answer.
    """
    first, *rest = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    version, _, after = first.partition(" ")
    if not version.startswith("HTTP/1.") or not after[:3].isdigit():
        raise BadHead("the host does not answer in HTTP/1.1")
    kept = [line for line in rest if line.partition(":")[0].strip().lower() not in _HOP_BY_HOP]
    return "\r\n".join([first, *kept, "Connection: close"]).encode("latin-1") + END, int(after[:3])


def answer(status: int, message: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Return an answer of the gateway's own, after which the connection closes."""
    body = f"{message}\n".encode()
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + END + body
