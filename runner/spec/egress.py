"""What a step may reach besides the model: hosts through the gateway's proxy, and Python packages."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from runner.spec.base import PathText, Spec

Network = Literal["none", "gateway", "open"]

HOST_FORM = r"(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[0-9]{1,5})?"
HostPattern = Annotated[str, StringConstraints(pattern=f"^{HOST_FORM}$", max_length=260)]
"""`example.org` (ports 80 and 443), `example.org:8443`, or `*.example.org` for every host below it, not itself.

A host below a `*.` is reached at public addresses only; one that is named, in private networks too; this machine only as
`localhost` or by its address.
"""


class Packages(Spec):
    """Python packages for steps that install some: read-only, through the gateway, the same for every repetition."""

    before: date | None = Field(
        None, description="Offer only files that were published before this day (UTC), like 2026-01-31."
    )
    folder: PathText | None = Field(
        None,
        min_length=1,
        description="Folder of wheels and sdists, relative to the project, offered instead of the machine's index.",
    )

    @model_validator(mode="after")
    def _pinned_one_way(self) -> Packages:
        if (self.before is None) == (self.folder is None):
            raise ValueError("`before` (a day) or `folder` is needed, one of them, so that runs can be had again")
        return self
