"""Find runs on disk by what a person types: the directories are the truth, the ledger is not needed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.errors import ConfigError, StorageError
from runner.evidence.layout import RunLayout
from runner.evidence.records import RunRecord, what_is_wrong

_NEAREST = 5
_ARCHIVES = (".tar.zst", ".tar.gz")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A run directory."""

    framework: str
    run_id: str
    layout: RunLayout


def places(output: Path) -> list[Place]:
    """Return every run directory below the output folder, sorted by framework and id; only names are read."""
    return [
        Place(framework=framework.name, run_id=run.name, layout=RunLayout(run))
        for framework in _folders(output)
        for run in _folders(framework)
    ]


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            names = [one.name for one in entries if one.is_dir(follow_symlinks=False) and not one.name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot list {parent}: {error.strerror}", hint=f"ls -ld {parent}") from error
    return [parent / name for name in sorted(names)]


def is_archive(text: str) -> bool:
    """Tell whether what a person types for a run is a file, and no run's name.

    Raises:
        ConfigError: if it is called like an archive, and there is none.
    """
    if not text.endswith(_ARCHIVES):
        return False
    if not Path(text).is_file():
        raise ConfigError(f"there is no file {text}", why="what ends so is an archive", hint="runner runs")
    return True


def find_run(output: Path, text: str) -> Place:
    """Return the run that a person means.

    Args:
        output: folder of run directories.
        text: a run id, `framework/id`, or the beginning of either, as long as only one run begins so; or an archive,
            which is taken apart, checked, into a folder that is there until this program ends.

    Raises:
        ConfigError: if no run, or more than one, fits; it names some that come near.
        StorageError: if it is an archive that is damaged.
    """
    if is_archive(text):
        return _unpacked(Path(text))
    everything = places(output)
    framework, slash, name = text.rstrip("/").rpartition("/")
    framework = framework.rpartition("/")[2]
    known = [one for one in everything if not slash or one.framework == framework]
    fits = [one for one in known if one.run_id == name] or [one for one in known if one.run_id.startswith(name)]
    if len(fits) == 1:
        return fits[0]
    if fits:
        shown = ", ".join(f"{one.framework}/{one.run_id}" for one in fits[:_NEAREST])
        more = f" and {len(fits) - _NEAREST} more" if len(fits) > _NEAREST else ""
        raise ConfigError(f"{text} could be {len(fits)} runs", why=f"{shown}{more}", hint="type more of the run's id")
    raise _no_such_run(output, text, everything)


def find_own_run(output: Path, text: str) -> Place:
    """Return the run in a folder that a person means, for a command that writes something of it there.

    Raises:
        ConfigError: as `find_run`, and if an archive is named whose run is not in the folder.
        StorageError: as `find_run`.
    """
    place = find_run(output, text)
    layout = RunLayout(output / place.framework / place.run_id)
    if not layout.root.is_dir():
        raise ConfigError(
            f"the run {place.run_id} is not in {output}",
            why=f"{text} is an archive of it; what is written of a run stands in the folder of runs",
            hint="runner runs",
        )
    return Place(framework=place.framework, run_id=place.run_id, layout=layout)


def _unpacked(archive: Path) -> Place:
    """Return the run that an archive holds."""
    import atexit
    import tempfile

    from runner.evidence.copying import remove_tree
    from runner.evidence.unpack import unpack

    root = Path(tempfile.mkdtemp(prefix="runner-archive-"))
    atexit.register(remove_tree, root)
    unpack(archive, root)
    place = Place(framework="", run_id=archive.name, layout=RunLayout(root))
    run = read_record(place).run
    if not _PLAIN.fullmatch(run.id):
        raise StorageError(f"the archive's run is called {run.id[:80]!r}, which no run is", where=str(archive))
    return Place(framework=run.framework.name, run_id=run.id, layout=place.layout)


def _no_such_run(output: Path, text: str, everything: list[Place]) -> ConfigError:
    import difflib

    run, at, step = text.partition("@")
    if at:
        return ConfigError(f"{text} is a step, and a run is wanted", hint=f"leave out @{step}: {run}")
    if not everything:
        return ConfigError(f"there is no run {text}", why=f"{output} holds no runs", hint="runner go")
    names = [one.run_id for one in everything] + [f"{one.framework}/{one.run_id}" for one in everything]
    near = difflib.get_close_matches(text, names, n=_NEAREST, cutoff=0.4)
    why = f"nearest: {', '.join(near)}" if near else f"{output} holds {len(everything)} runs, none like it"
    return ConfigError(f"there is no run {text}", why=why, hint="runner runs")


def read_record(place: Place) -> RunRecord:
    """Return the record of a run.

    Raises:
        StorageError: if it is missing or cannot be understood.
    """
    path = place.layout.metadata
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise StorageError(
            f"{place.run_id} has no record yet", where=str(path), hint="wait until it has started, or `runner go`"
        ) from error
    except (OSError, ValueError) as error:
        raise StorageError(
            f"cannot read the record of {place.run_id}", where=str(path), why=what_is_wrong(error)
        ) from error


def read_metrics(path: Path) -> Mapping[str, Any]:
    """Return a `metrics.json`, empty if there is none yet.

    Raises:
        StorageError: if it is no JSON object.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StorageError("cannot read metrics", where=str(path), why=str(error)) from error
    if not isinstance(value, dict):
        raise StorageError("metrics are no JSON object", where=str(path))
    return value
