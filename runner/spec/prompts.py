"""Read a scenario's prompts, and check what its steps say beyond the type of each field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runner.errors import ConfigError
from runner.spec.complaints import Complaint
from runner.spec.located import KeyPath, Located
from runner.spec.models import Scenario, Step
from runner.spec.recipes import leaves_folder

_MAX_BYTES = 1024**2


def check_steps(scenario: Scenario, located: Located) -> Iterator[Complaint]:
    """Yield what is wrong with a scenario's name, step ids.

    Args:
        scenario: the scenario.
        located: where it was written.
    """
    stem = located.path.stem
    if scenario.name != stem:
        what = f"name: `{scenario.name}` is not the name of its file, `{stem}`"
        yield Complaint(what=what, where=located.where(("name",)), hint=f"write: name: {stem}")
    first: dict[str, int] = {}
    for number, step in enumerate(scenario.steps):
        if step.id in first:
            yield Complaint(
                what=f"the step id `{step.id}` stands here again",
                where=located.where(("steps", number, "id")),
                why=f"the first is at {located.where(('steps', first[step.id], 'id'))}",
                hint="give each step its own id",
            )
        first.setdefault(step.id, number)
    if not any(step.enabled for step in scenario.steps):
        hint = "enable at least one"
        yield Complaint(what="every step is disabled", where=located.where(("steps",)), hint=hint)


def read_prompts(scenario: Scenario, located: Located) -> tuple[Scenario, list[Complaint]]:
    """Return the scenario with each prompt file's text as the step's prompt, and what is wrong with the prompts.

    Args:
        scenario: the scenario.
        located: where it was written; prompt files are relative to its file.
    """
    steps, complaints = [], []
    for number, step in enumerate(scenario.steps):
        try:
            prompt = _prompt(step, located, ("steps", number))
            steps.append(step.model_copy(update={"prompt": prompt, "prompt_file": None}))
        except _Refused as refused:
            complaints.append(refused.complaint)
    return scenario.model_copy(update={"steps": tuple(steps)}), complaints


class _Refused(ConfigError):
    """A prompt cannot be used."""

    def __init__(self, what: str, where: str, hint: str) -> None:
        super().__init__(what, where=where, hint=hint)
        self.complaint = Complaint(what=what, where=where, hint=hint)


def _prompt(step: Step, located: Located, path: KeyPath) -> str:
    if (step.prompt is None) == (step.prompt_file is None):
        both = "both prompt and prompt_file" if step.prompt else "neither prompt nor prompt_file"
        raise _Refused(f"the step `{step.id}` has {both}", located.where(path), "write exactly one of them")
    if step.prompt_file is not None:
        return _read(step.prompt_file, located.path.parent, located.where((*path, "prompt_file")))
    return _usable(step.prompt or "", f"the prompt of `{step.id}`", located.where((*path, "prompt")))


def _read(name: str, folder: Path, where: str) -> str:
    if leaves_folder(folder, name):
        hint = "put the prompt beside the scenario, or in a folder there"
        raise _Refused(f"prompt_file: `{name}` leaves the scenario's folder", where, hint)
    try:
        if (folder / name).is_file() and (folder / name).stat().st_size > _MAX_BYTES:
            raise _Refused(f"prompt_file: `{name}` is larger than 1MiB", where, "split the step")
        text = (folder / name).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise _Refused(f"prompt_file: `{name}` does not exist", where, "write it, or mend the name") from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        hint = f"save it as UTF-8, for example: iconv -f latin1 -t utf-8 {name}"
        raise _Refused(f"prompt_file: `{name}`: the byte 0x{byte:02x} is not UTF-8", where, hint) from None
    except OSError as error:
        hint = "check name and rights"
        raise _Refused(f"prompt_file: `{name}` cannot be read: {error.strerror}", where, hint) from None
    return _usable(text, f"prompt_file: `{name}`", where)


def _usable(text: str, name: str, where: str) -> str:
    if not text.strip():
        raise _Refused(f"{name} is empty", where, "write what the framework shall do")
    if "\0" in text:
        raise _Refused(f"{name} holds a NUL character", where, "no command line can carry it; remove it")
    return text
