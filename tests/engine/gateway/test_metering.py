"""Metering, over many calls: the long form of this is part of `make bench`."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.upstream.mixed import compare

pytestmark = pytest.mark.engine

CALLS = 400


def test_every_call_is_recorded_as_it_was_stated(tmp_path: Path) -> None:
    """Calls of all formats, whole and streamed, eight at a time: none is recorded otherwise than its server stated it."""
    found = compare(CALLS, tmp_path)
    assert found["statuses"] == {200: CALLS}
    assert (found["calls"], found["recorded"], found["differences"]) == (CALLS, CALLS, 0)
    assert found["sums_agree"]
