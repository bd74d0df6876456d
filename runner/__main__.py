"""`python -m runner`, for when the `runner` program itself is not on the PATH."""

from __future__ import annotations

from runner.cli.main import entry

if __name__ == "__main__":
    entry()
