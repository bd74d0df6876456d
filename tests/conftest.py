"""What every test relies on: signals mean what they mean in a terminal, long files begin early, busy machines fail nobody."""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings
from support.long_first import pytest_collection_modifyitems

__all__ = ["pytest_collection_modifyitems"]

# Slow is a machine that is busy, not an example.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

for _number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    # A shell starts background jobs with some of these ignored, and so would be every program that a test starts.
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)
