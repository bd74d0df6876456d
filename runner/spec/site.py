"""What a server's administrator writes for all its users: one file for the whole machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from runner.spec.base import LARGEST, Spec
from runner.spec.units import Bytes, Number, Whole
from runner.spec.validate import validate
from runner.spec.yaml import load_yaml

SITE_FILE = Path("/etc/codegen-runner/site.yaml")
"""Where it is, unless RUNNER_SITE names another."""


Beginning = Annotated[str, StringConstraints(min_length=1, pattern=r"^\S+$")]
"""Beginning of an address, without blanks."""


class Share(Spec):
    """What one user's containers may reserve together; an absent key sets no limit."""

    cpus: Number | None = Field(None, gt=0, le=4096, description="CPU cores.")
    memory: Bytes | None = Field(None, gt=0, le=LARGEST, description="Memory.")
    containers: Whole | None = Field(None, ge=1, le=100_000, description="Containers at once.")
    gpus: Whole | None = Field(None, ge=0, le=1024, description="GPUs at once.")


class Sources(Spec):
    """Where sources of frameworks are fetched from on this machine; what is fetched is the same, by its hash."""

    rewrite: dict[Beginning, Beginning] = Field(
        default_factory=dict,
        description="Mirrors of git sources: the beginning of an address -> what stands in its place, another beginning "
        "or a folder; the longest that fits counts. git's own `insteadOf` is applied afterwards.",
    )


class Site(Spec):
    """Rules for everybody on one machine; every runner on it follows them."""

    cpus: Number | None = Field(
        None, gt=0, le=4096, description="CPU cores that all runs together may reserve; by default all that there are."
    )
    memory: Bytes | None = Field(
        None,
        gt=0,
        le=LARGEST,
        description="Memory that all runs together may reserve; by default 80 % of what there is.",
    )
    gpus: tuple[str, ...] | None = Field(
        None,
        max_length=1024,
        description="GPUs that steps may have, by the ids that the engine knows them by (numbers or UUIDs); "
        "by default all that the engine's NVIDIA runtime offers.",
    )
    keep_memory: Bytes = Field(
        256 * 1024**2, ge=0, le=LARGEST, description="No further container begins while less memory is available."
    )
    most_load: Number = Field(
        4.0,
        gt=0,
        le=1000,
        description="No further container begins while the load of a minute is above this, per core.",
    )
    per_user: Share = Field(Share(), description="Limit of each user who is not named under `users`.")
    users: dict[str, Share] = Field(default_factory=dict, description="Limits of single users, by login name.")

    sources: Sources = Field(Sources(), description="Where frameworks are fetched from.")

    def share_of(self, user: str) -> Share:
        """Return the limit of a user."""
        return self.users.get(user, self.per_user)


def load_site(path: Path, *, required: bool) -> Site:
    """Return the rules of this machine; the default ones if there is no file.

    Args:
        path: the file.
        required: whether it has to be there, because somebody named it.

    Raises:
        ConfigError: with file and line, if it cannot be used.
    """
    if not required and not path.exists():
        return Site()
    return validate(load_yaml(path), Site)
