"""Files whose tests may take longest come first, so that no process is left alone with one of them at the end."""

from __future__ import annotations

from collections import Counter

import pytest

KEEPS_ORDER = "loadscopereorder"
"""The option that `--no-loadscope-reorder` clears: files go to processes in the order in which they were collected."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort files by the time that all of their tests may take, where whole files are dealt out in their order.

    What a test may take is its timeout. Files of the same sum stay in their random order, and so do a file's tests.
    """
    if config.getoption(KEEPS_ORDER, True):
        return
    usual = float(config.getini("timeout"))
    longest: Counter[str] = Counter()
    for item in items:
        marker = item.get_closest_marker("timeout")
        longest[item.nodeid.partition("::")[0]] += int(marker.args[0] if marker else usual)
    items.sort(key=lambda item: -longest[item.nodeid.partition("::")[0]])
