"""A runner that is killed at a call to its engine: the call's thread never goes on, so that nothing is tidied up."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from runner.engine.protocol import Engine, EngineInfo
from runner.testing import FakeEngine

When = Literal["before", "after"]


@dataclass(frozen=True)
class Point:
    """A moment of a runner's life: before or after its n-th call of a kind."""

    call: str
    when: When
    number: int = 1

    def __str__(self) -> str:
        return f"{self.when}-{self.call}-{self.number}"


class Killed(BaseException):
    """Ends a thread of a runner that was killed long ago, so that the tests' process can end."""


@dataclass
class Frozen:
    """An engine as a runner sees it that ends at one point; the engine itself goes on."""

    inner: FakeEngine
    point: Point
    over: threading.Event
    """Ends the frozen threads, when nothing looks any more at what they leave."""
    reached: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        seen: Counter[tuple[str, str]] = Counter()
        lock = threading.Lock()

        def pass_by(call: str, when: When) -> None:
            with lock:
                seen[call, when] += 1
                here = Point(call, when, seen[call, when]) == self.point
            if here:
                self.reached.set()
            if self.reached.is_set():
                self.over.wait()
                raise Killed

        self.containers = _Part(self.inner.containers, "", pass_by)
        self.observer = _Part(self.inner.observer, "", pass_by)
        self.volumes = _Part(self.inner.volumes, "volumes.", pass_by)
        self.images = self.inner.images

    def info(self) -> EngineInfo:
        return self.inner.info()

    def absence(self) -> str:
        return self.inner.absence()

    def incarnation(self) -> str:
        return self.inner.incarnation()

    @property
    def engine(self) -> Engine:
        return cast("Engine", self)


class _Part:
    def __init__(self, inner: object, prefix: str, pass_by: Callable[[str, When], None]) -> None:
        self._inner = inner
        self._prefix = prefix
        self._pass_by = pass_by

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self._pass_by(self._prefix + name, "before")
            result = getattr(self._inner, name)(*arguments, **named)
            self._pass_by(self._prefix + name, "after")
            return result

        return call
