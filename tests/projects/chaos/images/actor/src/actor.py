"""A framework that obeys its prompt, one order a line, and tells a number that no other container of it tells."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import sys
import time
import urllib.error
import urllib.request

URL = "http://127.0.0.1:4000/v1/chat/completions"
TRIES = 60


def line(path: str) -> None:
    """Add a line, so that a step which was performed twice on the same workspace shows."""
    with pathlib.Path(path).open("a") as stream:
        stream.write("one more line\n")


def nap(seconds: str) -> None:
    time.sleep(float(seconds))


def hold() -> None:
    """Go on when a test says so, by a file beside the prompt."""
    pathlib.Path("/out/begun").touch()
    while not pathlib.Path("/in/go-on").exists():
        time.sleep(0.1)


def need(*paths: str) -> None:
    """Fail unless all these are there."""
    missing = [path for path in paths if not pathlib.Path(path).exists()]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}")


def fail(code: str) -> None:
    sys.exit(int(code))


def attempt(number: str) -> None:
    """Fail before the attempt of that number."""
    if json.loads(pathlib.Path("/in/step.json").read_text())["attempt"] < int(number):
        sys.exit("not yet")


def ask(times: str) -> None:
    for number in range(int(times)):
        print(f"heard: {_answer(f'question {number}')}", flush=True)


def _answer(question: str) -> str:
    """Ask the model, again and again while nobody answers, as vendors' clients do."""
    body = {"model": "whatever", "messages": [{"role": "user", "content": question}]}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    for _ in range(TRIES):
        try:
            with urllib.request.urlopen(urllib.request.Request(URL, json.dumps(body).encode(), headers)) as reply:
                return json.load(reply)["choices"][0]["message"]["content"]
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                sys.exit(f"HTTP {error.code}: {error.read().decode()}")
            time.sleep(0.5)
    sys.exit("nobody answers")


ORDERS = {order.__name__: order for order in (line, nap, hold, need, fail, attempt, ask)}

print(f"here is {os.urandom(8).hex()}", flush=True)
for order in pathlib.Path("/in/prompt.txt").read_text().splitlines():
    name, *arguments = order.split()
    ORDERS[name](*arguments)
