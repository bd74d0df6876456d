"""Apply a recipe's patches to what was installed, while the image is built.

Runs as root in a build container without network, after install.py. Reads every `*.patch` of /opt/framework/patches in
the order of their names: unified diffs (`diff -u`, `git diff`) whose paths start at /opt/framework, after one leading
folder such as `a/` and `b/`. What stands before the first `--- ` is the reason and is printed.

A patch belongs to one exact source, so it has to fit line by line: nothing is searched for, and what does not fit stops
the build. A file may be changed or, from /dev/null, added.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

FRAMEWORK = Path("/opt/framework")
PYTHON = "/usr/bin/python3"
HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
NO_FILE = "/dev/null"
NO_NEWLINE = "\\"
"""Begins the line that says of the one before it that its file ends without a line end."""


def main() -> int:
    """Apply all patches; return 1 at the first that does not fit."""
    for patch in sorted((FRAMEWORK / "patches").glob("*.patch")):
        try:
            text = patch.read_bytes().decode("utf-8")
            changed = apply(text, FRAMEWORK)
        except (OSError, ValueError) as error:
            print(f"patch {patch.name} cannot be applied: {error}", file=sys.stderr)
            return 1
        for file in changed:
            forget_compiled(file)
        print(f"patch {patch.name}: {reason(text)}", flush=True)
    return 0


def reason(text: str) -> str:
    """Return a patch's first line."""
    return text.partition("\n")[0].strip()


def apply(text: str, root: Path) -> list[Path]:
    """Apply one patch to the files below a folder; return those that changed.

    Args:
        text: the patch.
        root: where its paths start.

    Raises:
        ValueError: if it is no unified diff, leaves the folder, or does not fit; nothing is written then.
    """
    results: dict[Path, str] = {}
    for old, new, hunks in sections(text):
        target = place(root, new)
        if target in results:
            raise ValueError(f"{new} is in it twice")
        if old == NO_FILE:
            if target.exists():
                raise ValueError(f"{new} is to be added, but exists")
            results[target] = patched("", hunks, new)
        else:
            results[target] = patched(target.read_bytes().decode("utf-8"), hunks, new)
    if not results:
        raise ValueError("it changes no file")
    for file, content in results.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode("utf-8"))
    return list(results)


def place(root: Path, name: str) -> Path:
    """Return the file that a name in a patch stands for, its first folder left out."""
    parts = Path(name).parts[1:]
    if name == NO_FILE or not parts or ".." in parts:
        raise ValueError(f"{name} is no file below {root} that can be patched")
    return root.joinpath(*parts)


def sections(text: str) -> list[tuple[str, str, list[tuple[int, list[str]]]]]:
    """Split a patch into old name, new name and hunks: how many old lines stand before it, and its lines with marks."""
    found: list[tuple[str, str, list[tuple[int, list[str]]]]] = []
    lines = text.split("\n")
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if line.startswith("--- ") and lines[position : position + 1] and lines[position].startswith("+++ "):
            found.append((named(line), named(lines[position]), []))
            position += 1
        elif (match := HUNK.match(line)) is not None:
            if not found:
                raise ValueError(f"line {position}: a change stands before the name of its file")
            start, old, _, new = (int(number) if number is not None else 1 for number in match.groups())
            end = hunk_end(lines, position, old, new)
            # A change that only adds names the line it follows, any other one the line it begins with.
            found[-1][2].append((start - 1 if old else start, lines[position:end]))
            position = end
    return found


def named(line: str) -> str:
    """Return the file's name in a line that begins with `--- ` or `+++ `, without the time that diff puts after it."""
    return line[4:].partition("\t")[0].strip()


def hunk_end(lines: list[str], position: int, old: int, new: int) -> int:
    """Return the number of the line after a hunk that begins at `position` and has so many old and new lines."""
    begin = position
    while old > 0 or new > 0:
        mark = lines[position][:1] if position < len(lines) else ""
        if mark not in {" ", "-", "+", NO_NEWLINE}:
            raise ValueError(f"line {begin}: the change ends before it is complete")
        old -= mark in {" ", "-"}
        new -= mark in {" ", "+"}
        position += 1
    return position + 1 if lines[position : position + 1] and lines[position].startswith(NO_NEWLINE) else position


def patched(content: str, hunks: list[tuple[int, list[str]]], name: str) -> str:
    """Return a file's content with the hunks carried out.

    Raises:
        ValueError: if a line is not what the patch says.
    """
    lines, result, done = list(io.StringIO(content, newline="\n")), list[str](), 0
    for begin, changes in hunks:
        if not done <= begin <= len(lines):
            raise ValueError(f"{name} has no line {begin} after line {done}")
        result += lines[done:begin]
        done = begin
        for index, change in enumerate(changes):
            if change.startswith(NO_NEWLINE):
                continue
            bare = index + 1 < len(changes) and changes[index + 1].startswith(NO_NEWLINE)
            line = change[1:] + ("" if bare else "\n")
            if change[0] in {" ", "-"}:
                if lines[done : done + 1] != [line]:
                    found = repr(lines[done]) if done < len(lines) else "the end of the file"
                    raise ValueError(f"{name}, line {done + 1}: expected {line!r}, found {found}")
                done += 1
            if change[0] in {" ", "+"}:
                result.append(line)
    return "".join(result + lines[done:])


def forget_compiled(file: Path) -> None:
    """Compile a module anew: byte code that install.py made is not compared with its source again."""
    compiled = list((file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"))
    if file.suffix == ".py" and compiled:
        mode = ("-q", "-f", "--invalidation-mode", "unchecked-hash", str(file))
        # No hash is random, so that the same patch gives the same byte code.
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        subprocess.run([PYTHON, "-m", "compileall", *mode], check=True, env=environment, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
