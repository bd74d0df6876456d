"""What every user-written model shares."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""Lower-case letters, digits, dots, dashes and underscores: safe in a path, a tag and a container name."""

_LONGEST_PART, _LONGEST_PATH = 255, 4095
"""Most bytes of a file's name and of a whole path, as Linux has them (limits.h: NAME_MAX, PATH_MAX with its NUL)."""


def _nameable(path: str) -> str:
    if "\0" in path:
        raise ValueError("no file can be called that: it holds a NUL character")
    longest = max(len(part.encode("utf-8", "surrogatepass")) for part in path.split("/"))
    if longest > _LONGEST_PART or len(path.encode("utf-8", "surrogatepass")) > _LONGEST_PATH:
        raise ValueError(
            f"no file can be called that: a name has at most {_LONGEST_PART} bytes, a path {_LONGEST_PATH}"
        )
    return path


PathText = Annotated[str, AfterValidator(_nameable)]
"""A path that a file can have, whether or not there is one."""

LARGEST = 1024**5
"""No size of a limit may exceed this, bytes: more is a slip of the pen."""
LONGEST = 365 * 86400
"""No duration of a limit may exceed this, seconds."""


class HintedError(ValueError):
    """What a validator finds wrong with a value.

    Args:
        what: a sentence that names the value.
        hint: what to write instead.
    """

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.hint = hint


class Spec(BaseModel):
    """Base settings of every user-written model: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=False)
