"""A framework that asks the model as often as its prompt says, and writes each answer into the workspace."""

from __future__ import annotations

import json
import os
import pathlib
import sys
import urllib.error
import urllib.request

URL = "http://127.0.0.1:4000/v1/chat/completions"


def ask(question: str) -> str:
    """Return the model's answer to one question."""
    body = {"model": "whatever", "messages": [{"role": "user", "content": question}]}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
    request = urllib.request.Request(URL, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)["choices"][0]["message"]["content"]


def main() -> None:
    """Ask, and give up at the first refusal."""
    times = int(pathlib.Path("/in/prompt.txt").read_text().split()[1])
    for number in range(1, times + 1):
        try:
            answer = ask(f"question {number}")
        except urllib.error.HTTPError as error:
            sys.exit(f"HTTP {error.code}: {error.read().decode()}")
        with pathlib.Path("/workspace/answers.txt").open("a") as answers:
            answers.write(f"{answer}\n")
        print(f"heard: {answer}", flush=True)


if __name__ == "__main__":
    main()
