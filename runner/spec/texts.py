"""Read the texts that a file of steps names: prompts, scripts, standard input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.errors import ConfigError
from runner.spec.complaints import Complaint
from runner.spec.judging import Check
from runner.spec.located import KeyPath, Located
from runner.spec.recipes import leaves_folder
from runner.spec.scenario import Program, Step

_MAX_BYTES = 1024**2
_WORDS = {"prompt": "write what the framework shall do", "script": "write what is to be run"}


def read_texts(steps: tuple[Step, ...], located: Located) -> tuple[tuple[Step, ...], list[Complaint]]:
    """Return steps with the text of each file they name in its place, and what is wrong with the texts.

    Args:
        steps: steps of one file.
        located: where they were written; the files they name are relative to it.
    """
    complete, complaints = [], []
    for number, step in enumerate(steps):
        try:
            complete.append(step.model_copy(update=_texts(step, located, ("steps", number))))
        except _Refused as refused:
            complaints.append(refused.complaint)
    return tuple(complete), complaints


def read_scripts(checks: tuple[Check, ...], located: Located) -> tuple[tuple[Check, ...], list[Complaint]]:
    """Return checks with the text of each script they name in its place, and what is wrong with these; see `read_texts`."""
    complete, complaints = [], []
    for number, check in enumerate(checks):
        if check.script is None and check.script_file is None:
            complete.append(check)
            continue
        try:
            text = _one(check, "script", located, ("checks", number), f"the script of the check `{check.id}`")
            complete.append(check.model_copy(update={"script": text, "script_file": None}))
        except _Refused as refused:
            complaints.append(refused.complaint)
    return tuple(complete), complaints


def text_sources(steps: tuple[Step, ...], located: Located, root: Path) -> Mapping[str, str]:
    """Return, by dotted key, the file that each text comes from, relative to a project's folder."""
    return dict(_sources(steps, located, root))


def _sources(steps: tuple[Step, ...], located: Located, root: Path) -> Iterator[tuple[str, str]]:
    for step in steps:
        named = [("prompt", "prompt_file", step.prompt_file), ("script", "script_file", step.script_file)]
        if step.check is not None:
            named.append(("check.script", "check.script_file", step.check.script_file))
        for key, file_key, name in named:
            if name is not None:
                yield f"steps.{step.id}.{key}", str((located.path.parent / name).relative_to(root))
                yield f"steps.{step.id}.{file_key}", f"read into steps.{step.id}.{key}"
        if step.stdin is not None:
            yield f"steps.{step.id}.stdin", str((located.path.parent / step.stdin).relative_to(root))


class _Refused(ConfigError):
    """A text cannot be used."""

    def __init__(self, what: str, where: str, hint: str) -> None:
        super().__init__(what, where=where, hint=hint)
        self.complaint = Complaint(what=what, where=where, hint=hint)


def _texts(step: Step, located: Located, path: KeyPath) -> dict[str, Any]:
    """Return the fields of a step that its texts replace."""
    found: dict[str, Any] = {key: None for key in ("prompt_file", "script_file") if getattr(step, key) is not None}
    if step.prompt is not None or step.prompt_file is not None:
        text = _one(step, "prompt", located, path, f"the prompt of `{step.id}`")
        found["prompt"] = text
    if step.script is not None or step.script_file is not None:
        text = _one(step, "script", located, path, f"the script of `{step.id}`")
        found["script"] = text
    if step.check is not None and step.check.command is None:
        text = _one(step.check, "script", located, (*path, "check"), f"the check of `{step.id}`")
        found["check"] = step.check.model_copy(update={"script": text, "script_file": None})
    if step.stdin is not None:
        found["stdin"] = _read("stdin", step.stdin, located.path.parent, located.where((*path, "stdin")))
    return found


def _one(holder: Step | Program | Check, key: str, located: Located, path: KeyPath, name: str) -> str:
    """Return a text that stands in the file itself or in one of its own."""
    file = getattr(holder, f"{key}_file")
    if file is None:
        return _usable(getattr(holder, key), name, located.where((*path, key)), _WORDS[key])
    where = located.where((*path, f"{key}_file"))
    text = _read(f"{key}_file", file, located.path.parent, where)
    return _usable(text, f"{key}_file: `{file}`", where, _WORDS[key])


def _read(key: str, name: str, folder: Path, where: str) -> str:
    if leaves_folder(folder, name):
        hint = "put it beside the file that names it, or in a folder there"
        raise _Refused(f"{key}: `{name}` leaves the scenario's folder", where, hint)
    try:
        if (folder / name).is_file() and (folder / name).stat().st_size > _MAX_BYTES:
            raise _Refused(f"{key}: `{name}` is larger than 1MiB", where, "split the step")
        data = (folder / name).read_bytes()
        # What a program reads stays as it is; of what is read by us, line ends and a byte order mark mean nothing.
        text = data.decode() if key == "stdin" else data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        raise _Refused(f"{key}: `{name}` does not exist", where, "write it, or mend the name") from None
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        hint = f"save it as UTF-8, for example: iconv -f latin1 -t utf-8 {name}"
        raise _Refused(f"{key}: `{name}`: the byte 0x{byte:02x} is not UTF-8", where, hint) from None
    except OSError as error:
        hint = "check name and rights"
        raise _Refused(f"{key}: `{name}` cannot be read: {error.strerror}", where, hint) from None
    return text


def _usable(text: str, name: str, where: str, hint: str) -> str:
    if not text.strip():
        raise _Refused(f"{name} is empty", where, hint)
    if "\0" in text:
        raise _Refused(f"{name} holds a NUL character", where, "no program can be given it; remove it")
    return text
