"""Test doubles for users and for this project: an engine and a gateway that live in memory."""

from __future__ import annotations

from runner.testing.box import Box, Program
from runner.testing.engine import FakeEngine
from runner.testing.gateway import NO_CALLS, FakeGateway

__all__ = ["NO_CALLS", "Box", "FakeEngine", "FakeGateway", "Program"]
