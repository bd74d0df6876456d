"""An application is asked within bounds of time and size, whatever it answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from judge.client import MOST_BODY, Client
from judge.clock import Clock
from judge.proc import Listener

SECONDS = 1.5
"""As short as a busy machine allows: an answer that is there at once has to come within it."""


class Odd(BaseHTTPRequestHandler):
    """Answers by what its path asks for."""

    server: Quiet

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer slowly, drop by drop, too much, elsewhere, or plainly."""
        kind = self.path.split("/")[1]
        if kind == "slow":
            self.server.over.wait(200)
        elif kind == "drip":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(900):
                self.wfile.write(b"x")
                if self.server.over.wait(0.2):
                    return
        elif kind == "large":
            self._plain(b"x" * (2 * MOST_BODY))
        elif kind == "moved":
            self.send_response(307)
            self.send_header("Location", "/plain/?a=1")
            self.end_headers()
        elif kind == "round":
            self.send_response(302)
            self.send_header("Location", "/round")
            self.end_headers()
        elif kind == "away":
            self.send_response(302)
            self.send_header("Location", "http://example.org/")
            self.end_headers()
        elif kind == "rude":
            self.wfile.write(b"no HTTP at all\r\n\r\n")
        else:
            self._plain(self.command.encode())

    def do_POST(self) -> None:
        """Answer as to GET."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def _plain(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Quiet(ThreadingHTTPServer):
    """A server that does not mind when the other side hangs up."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, Odd)
        self.over = threading.Event()

    def handle_error(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def client() -> Iterator[Client]:
    """Connect to a server that answers oddly."""
    server = Quiet(("127.0.0.1", 0))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Client(Listener(server.server_address[1], "127.0.0.1"), Clock(60), SECONDS)
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("path", ["/slow", "/drip"])
def test_slow_answer_is_none(client: Client, path: str) -> None:
    """An answer that is not complete in time is no answer, also when it keeps coming in drops."""
    begun = time.monotonic()
    answer = client.ask("GET", path)
    assert answer.status is None
    assert f"no answer in {SECONDS} s" in answer.error
    assert time.monotonic() - begun < 60
    assert client.sent["unanswered"] == 1


def test_route_that_does_not_answer_is_given_up(client: Client) -> None:
    """After three silent requests to a route no more are sent to it, whatever the identifier; others are."""
    for number in range(3):
        client.ask("GET", f"/slow/{number}")
    assert client.ask("GET", "/slow/9").error.startswith("not sent")
    assert client.ask("GET", "/plain").ok
    assert client.ask("POST", "/plain", {"a": 1}).ok


def test_request_that_ended_the_application_is_not_repeated(client: Client) -> None:
    """What was sent to an application that ended is not sent again in that form; in another it is."""
    client.avoid(client.ask("POST", "/plain", {"a": 1}))
    assert client.ask("POST", "/plain", {"a": 2}).error.startswith("not sent")
    assert client.ask("POST", "/plain", {"a": "text"}).ok


def test_redirection_keeps_method_and_path(client: Client) -> None:
    """The same request is sent where a redirection on the same host points, and the path of the answer is kept."""
    answer = client.ask("POST", "/moved", {"a": 1})
    assert (answer.status, answer.text, answer.path) == (200, "POST", "/plain/?a=1")
    assert client.ask("GET", "/round").status == 302
    assert client.ask("GET", "/away").status == 302


def test_answers_are_bounded_and_need_not_be_http(client: Client) -> None:
    """Of a large answer a part is read, little of which is evidence; what is no HTTP is no answer."""
    answer = client.ask("GET", "/large")
    assert len(answer.text) == MOST_BODY
    assert len(str(answer.evidence())) < 10_000
    assert answer.json is None
    assert client.ask("GET", "/rude").status is None


def test_nobody_there_is_no_answer() -> None:
    """A port on which nobody listens gives an error that says so."""
    answer = Client(Listener(1, "127.0.0.1"), Clock(60), SECONDS).ask("GET", "/")
    assert answer.status is None
    assert "refused" in answer.said
