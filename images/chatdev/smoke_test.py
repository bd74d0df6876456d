"""Check in the finished image that every part of a step can start, without a model."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path("/opt/framework/source")
MODULES = ("adapter", "fastapi.testclient", "uvicorn", "pytest")
ENCODINGS = {"gpt-4": 1, "gpt-4o-mini": 1}
"""A model of each encoding that ChatDev counts with, and how many tokens "hello" is in it."""
CHATDEV = {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "RUNNER_MODEL": "none"}


def main() -> None:
    """Import what a step imports and start what it starts; any failure ends with a traceback."""
    for module in MODULES:
        importlib.import_module(module)
    tiktoken = importlib.import_module("tiktoken")
    for model, tokens in ENCODINGS.items():
        count = len(tiktoken.encoding_for_model(model).encode("hello"))
        if count != tokens:
            raise SystemExit(f"hello is {count} tokens for {model}, not {tokens}")
    command = [sys.executable, "-E", "-B", str(SOURCE / "run.py"), "--help"]
    for one in (command, ["pip", "--version"]):
        environment = {**os.environ, **CHATDEV, "BASE_URL": CHATDEV["OPENAI_BASE_URL"], "PIP_LOG": os.devnull}
        subprocess.run(
            one, check=True, cwd=SOURCE, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
    if not (SOURCE / "WareHouse").is_dir():
        raise SystemExit("there is no folder for products")


if __name__ == "__main__":
    main()
