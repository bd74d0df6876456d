"""How a part of `make bench` that is run on its own ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping


def report(figures: Mapping[str, float], most: Mapping[str, float], least: Mapping[str, float] | None = None) -> int:
    """Print figures as JSON.

    Args:
        figures: by name.
        most: largest values that are accepted.
        least: smallest ones.

    Returns:
        1 if a figure is beyond its threshold, else 0.
    """
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    large = any(figures[name] > limit for name, limit in most.items())
    return int(large or any(figures[name] < limit for name, limit in (least or {}).items()))
