"""Perform one step with ChatDev: a new product from the first prompt, the next version of it from each later one.

ChatDev puts every product into a folder of its own below WareHouse, which is the run's. What it wrote itself is copied
to the top of the workspace, where a later step finds it again: the workspace holds one product, in its newest version.
Of the workspace ChatDev is shown the files at its top alone. It cannot read folders, and left to itself it would copy
the whole of the previous product's folder, with the one before in it, into the next.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

STEP = Path("/in/step.json")
PROMPT = Path("/in/prompt.txt")
OUT = Path("/out")
WORKSPACE = Path("/workspace")
PREVIOUS = Path("/tmp/previous")  # noqa: S108  the container's own tmpfs
PACKAGES = Path("/state/packages")
SOURCE = Path("/opt/framework/source")
NAME, ORGANISATION = "product", "runner"
MODELS = {"gpt-3.5-turbo": "GPT_3_5_TURBO", "gpt-4": "GPT_4", "gpt-4-turbo": "GPT_4_TURBO"}
OTHER_MODEL = "GPT_4O_MINI"
"""ChatDev's table of limits and encodings to go by for every other model, GPT-4o among them; see README.md."""
LOOK_SECONDS = 1.0


def main() -> int:
    """Carry out one step; return its exit code."""
    prompt = PROMPT.read_text(encoding="utf-8")
    before = products()
    config = "Incremental" if lay_out_previous() else "Default"
    print(f"adapter: {config}", flush=True)
    code = run_chatdev(command(config, prompt))
    journal = read_journal()
    made = [folder for folder in products() if folder not in before]
    taken = take(made[-1], journal) if made else []
    asked = [entry for entry in journal if "module" in entry]
    message = summary(code, journal, taken, asked)
    if asked:
        record_modules(asked)
    write_result(message, phases(journal, now=time.time(), code=code))
    if code:
        print(f"adapter: {message}", file=sys.stderr)
    return code


def products() -> list[Path]:
    """List the products' folders; their names end with the time at which each was begun."""
    return sorted(path for path in (SOURCE / "WareHouse").glob(f"{NAME}_{ORGANISATION}_*") if path.is_dir())


def lay_out_previous() -> bool:
    """Copy the files at the workspace's top to where ChatDev is to read them; return whether there is any code."""
    PREVIOUS.mkdir()
    for path in sorted(WORKSPACE.iterdir()):
        if path.is_file() and not path.is_symlink():
            shutil.copyfile(path, PREVIOUS / path.name)
    return any(PREVIOUS.glob("*.py"))


def command(config: str, prompt: str) -> list[str]:
    """Return ChatDev's command line."""
    # Without -E, what a product needed in an earlier step would take the place of ChatDev's own packages.
    python = [sys.executable, "-E", "-B", "-u", str(SOURCE / "run.py")]
    model = MODELS.get(os.environ["RUNNER_MODEL"].rpartition("/")[2], OTHER_MODEL)
    options = ["--config", config, "--org", ORGANISATION, "--name", NAME, "--model", model]
    # As one word, so that a task that begins with a dash is no option.
    return [*python, *options, "--path", str(PREVIOUS), f"--task={prompt.strip()}"]


def environment() -> dict[str, str]:
    """Return what ChatDev finds in its environment: the gateway under its own name, and where modules come from."""
    found = {**os.environ, "BASE_URL": os.environ["OPENAI_BASE_URL"], "PYTHONPATH": str(PACKAGES)}
    if "PIP_INDEX_URL" not in os.environ:
        # Else pip would look for an index, and wait, though there is no way to any.
        found["PIP_NO_INDEX"] = "1"
    return {**found, "CHATDEV_JOURNAL": str(OUT / "journal.jsonl")}


def run_chatdev(argv: Sequence[str]) -> int:
    """Run ChatDev to its end, reporting each phase as it comes; return its exit code."""
    write_result("ChatDev has not begun", [])
    process = subprocess.Popen(argv, cwd=SOURCE, env=environment(), stdin=subprocess.DEVNULL)
    seen = 0
    while True:
        try:
            return process.wait(LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            journal = read_journal()
            if len(journal) > seen:
                seen = len(journal)
                write_result(f"ChatDev has not ended, it is in {last_begun(journal)}", phases(journal))


def read_journal() -> list[dict[str, Any]]:
    """Return the entries that ChatDev has written whole; see 02-journal.patch."""
    try:
        text = (OUT / "journal.jsonl").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def last_begun(journal: Sequence[dict[str, Any]]) -> str:
    """Name the phase that was begun last."""
    return next((entry["phase"] for entry in reversed(journal) if entry["event"] == "begin"), "no phase")


def phases(journal: Sequence[dict[str, Any]], *, now: float | None = None, code: int = 0) -> list[dict[str, Any]]:
    """Return the phases for result.json.

    Args:
        journal: ChatDev's entries.
        now: when ChatDev ended, in seconds since the epoch; None while it runs.
        code: its exit code, which is that of the phase that did not end.
    """
    found: list[dict[str, Any]] = []
    for entry in journal:
        if entry["event"] == "begin":
            found.append(phase(entry["phase"], entry["at"], now, None if now is None else code or 1))
        elif entry["event"] == "end" and found:
            ended = phase(entry["phase"], found[-1]["started_at"], entry["at"], 0)
            found[-1] = ended | {"detail": found[-1]["detail"]}
        elif entry["event"] == "install" and found:
            words = f"module {entry['module']}: {'could not be had' if entry['exit_code'] else 'installed'}"
            if words not in found[-1]["detail"]:
                found[-1]["detail"] = "; ".join(filter(None, (found[-1]["detail"], words)))
    return found


def phase(name: str, started_at: float, ended_at: float | None, code: int | None) -> dict[str, Any]:
    """Return one entry of `phases` in result.json."""
    seconds = None if ended_at is None else round(ended_at - started_at, 3)
    return {"name": name, "started_at": started_at, "seconds": seconds, "exit_code": code, "detail": ""}


def take(product: Path, journal: Sequence[dict[str, Any]]) -> list[str]:
    """Copy what ChatDev wrote of a product to the workspace; return the names of the files.

    What a product left behind when it was tried, like a database, is not taken, nor are ChatDev's notes on its own work.
    """
    known = [name for entry in journal if entry["event"] == "end" for name in entry["files"]]
    taken = [name for name in dict.fromkeys(known) if is_file(product, name)]
    for name in taken:
        shutil.copyfile(product / name, WORKSPACE / name)
    return sorted(taken)


def is_file(folder: Path, name: str) -> bool:
    """Say whether a name is that of a regular file directly in a folder."""
    path = folder / name
    return Path(name).name == name and path.is_file() and not path.is_symlink()


def record_modules(asked: Sequence[dict[str, Any]]) -> None:
    """Write down which modules ChatDev wanted to install, with pip's exit code, and what is installed now."""
    content = {
        "version": 1,
        "index": "PIP_INDEX_URL" in os.environ,
        "asked": [{"module": entry["module"], "exit_code": entry["exit_code"]} for entry in asked],
        "installed": dict(sorted(installed())),
    }
    (OUT / "modules.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def installed() -> Iterator[tuple[str, str]]:
    """Yield name and version of every distribution that was installed for the run's products."""
    for one in distributions(path=[str(PACKAGES)]):
        yield one.metadata["Name"], one.version


def summary(code: int, journal: Sequence[dict[str, Any]], taken: Sequence[str], asked: Sequence[dict[str, Any]]) -> str:
    """Say in one sentence how the step went."""
    ended = "every phase has ended" if code == 0 else f"ChatDev gave up in {last_begun(journal)} with exit code {code}"
    parts = [ended, f"{len(taken)} files written" if taken else "no file written"]
    refused = sorted({entry["module"] for entry in asked if entry["exit_code"]})
    had = sorted({entry["module"] for entry in asked} - set(refused))
    parts += [f"modules installed: {', '.join(had)}"] if had else []
    parts += [f"modules that could not be had: {', '.join(refused)}"] if refused else []
    unseen = sum(path.parent != WORKSPACE for path in WORKSPACE.rglob("*.py"))
    parts += [f"{unseen} Python files in folders, which ChatDev cannot read"] if unseen else []
    return "; ".join(parts)


def write_result(message: str, found: Sequence[dict[str, Any]]) -> None:
    """Write result.json anew, so that a step that is killed leaves what it had reported."""
    path = OUT / "result.json"
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps({"version": 1, "message": message, "phases": list(found)}, indent=2) + "\n")
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
