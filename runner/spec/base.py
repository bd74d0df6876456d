"""What every user-written model shares."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""Lower-case letters, digits, dots, dashes and underscores: safe in a path, a tag and a container name."""

LARGEST = 1024**5
"""No size of a limit may exceed this, bytes: more is a slip of the pen."""
LONGEST = 365 * 86400
"""No duration of a limit may exceed this, seconds."""


class Spec(BaseModel):
    """Base settings of every user-written model: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=False)
