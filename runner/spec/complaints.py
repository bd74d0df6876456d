"""Complaints about what the user wrote: gathered from every file first, then raised as one error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runner.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Complaint:
    """One thing to mend: what is wrong with the value, where it stands, why, and what to write instead."""

    what: str
    where: str = ""
    why: str = ""
    hint: str = ""


class SpecError(ConfigError):
    """One or more complaints, every one of them in the text.

    Args:
        complaints: at least one; equal ones are shown once.
    """

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        self.complaints = tuple(dict.fromkeys(complaints))
        if len(self.complaints) == 1:
            only = self.complaints[0]
            super().__init__(only.what, where=only.where, why=only.why, hint=only.hint)
            return
        super().__init__(
            f"{len(self.complaints)} things are wrong in the configuration",
            why="\n".join(_as_item(complaint) for complaint in self.complaints),
            hint="nothing was started; mend them and type the command again",
        )


def raise_if_any(complaints: Sequence[Complaint]) -> None:
    """Raise all complaints as one error, if there are any.

    Raises:
        SpecError: if there is at least one complaint.
    """
    if complaints:
        raise SpecError(complaints)


def complaints_of(error: ConfigError) -> tuple[Complaint, ...]:
    """Return an error's complaints, so that those of several files can be raised together."""
    if isinstance(error, SpecError):
        return error.complaints
    return (Complaint(what=error.what, where=error.where, why=error.why, hint=error.hint),)


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """Return the choice that looks most like a name, or None if none looks like it."""
    found = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return found[0] if found else None


def choose_from(name: str, choices: Iterable[str], nothing: str = "there are none") -> str:
    """Return the hint for an unknown name: the nearest one, then all of them.

    Args:
        name: what was written.
        choices: what may be written.
        nothing: what to say if there is no choice at all.
    """
    ordered = sorted(choices)
    if not ordered:
        return nothing
    near = nearest(name, ordered)
    listed = f"choose from: {', '.join(ordered)}"
    return f"did you mean `{near}`? {listed}" if near else listed


def _as_item(complaint: Complaint) -> str:
    head = f"{complaint.where}: {complaint.what}" if complaint.where else complaint.what
    return "\n    ".join(part for part in (f"  {head}", complaint.why, complaint.hint) if part)
