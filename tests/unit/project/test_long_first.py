"""The order in which files of tests are dealt out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support.long_first import KEEPS_ORDER, pytest_collection_modifyitems


def _item(nodeid: str, seconds: int | None) -> Any:
    marker = SimpleNamespace(args=(seconds,)) if seconds else None
    return SimpleNamespace(nodeid=nodeid, get_closest_marker=lambda _: marker)


@pytest.mark.parametrize(("reorders", "wanted"), [(False, "b.py::1 b.py::2 c.py::1 a.py::1"), (True, "unchanged")])
def test_files_that_may_take_longest_begin(*, reorders: bool, wanted: str) -> None:
    """Files go by the sum of their tests' timeouts, their tests stay in order; who deals otherwise is left alone."""
    items = [_item("a.py::1", None), _item("c.py::1", 350), _item("b.py::1", None), _item("b.py::2", None)]
    before = [item.nodeid for item in items]
    options = {KEEPS_ORDER: reorders}
    config: Any = SimpleNamespace(getoption=options.get, getini=lambda _: "300")
    pytest_collection_modifyitems(config, items)
    assert [item.nodeid for item in items] == (before if reorders else wanted.split())
