"""Failures that several recipes share: met once, told once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

from runner.errors import ConfigError, ImageError

Failure = ImageError | ConfigError


@contextlib.contextmanager
def once(
    failed: dict[str, Failure], what: str, kinds: tuple[type[Failure], ...] = (ImageError, ConfigError)
) -> Iterator[None]:
    """Raise at once what made `what` fail before; remember what makes it fail now.

    Args:
        failed: failures so far, by what failed.
        what: what is tried in the block.
        kinds: failures that are remembered; of another kind it is tried again.
    """
    if what in failed:
        raise failed[what]
    try:
        yield
    except kinds as error:
        failed[what] = error
        raise


def refer(name: str, error: Failure, others: Mapping[str, object]) -> Failure:
    """Return an error, or a short reference where another recipe has failed by the very same one.

    Args:
        name: recipe that failed.
        error: why.
        others: results of recipes so far.
    """
    first = next((other for other, result in others.items() if result is error), None)
    if first is None:
        return error
    return type(error)(f"{name} is not made, for the reason told of {first}: {error.what}")
