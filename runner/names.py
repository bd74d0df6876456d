"""Names that more than one room has to agree on: labels, files, container paths, environment."""

from __future__ import annotations

import re

PROJECT = "codegen-runner"
"""Distribution name; prefix of image tags, containers, volumes and cache folders."""

LABEL_PREFIX = "org.codegen-runner."
LABEL_KIND = LABEL_PREFIX + "kind"
"""What an engine object is for: `attempt`, `check`, `command`, `shell`, `workspace`, `build`, `image`, `helper`."""
LABEL_RUN = LABEL_PREFIX + "run"
LABEL_DIGEST = LABEL_PREFIX + "digest"
LABEL_FRAMEWORK = LABEL_PREFIX + "framework"
LABEL_STEP = LABEL_PREFIX + "step"
LABEL_ATTEMPT = LABEL_PREFIX + "attempt"
LABEL_RUN_DIR = LABEL_PREFIX + "run-dir"
LABEL_OWNER_UID = LABEL_PREFIX + "owner-uid"
LABEL_OWNER_PID = LABEL_PREFIX + "owner-pid"
LABEL_OWNER_STARTED = LABEL_PREFIX + "owner-started"
"""Start time of the owner process in clock ticks since boot (field 22 of `/proc/PID/stat`)."""
LABEL_OWNER_BOOT = LABEL_PREFIX + "owner-boot"
LABEL_OWNER_HOST = LABEL_PREFIX + "owner-host"
LABEL_CPUS = LABEL_PREFIX + "reserved-cpus"
LABEL_MEMORY = LABEL_PREFIX + "reserved-memory"
LABEL_GPUS = LABEL_PREFIX + "reserved-gpus"
"""Devices that are this container's alone, commas between their ids."""
LABEL_CGROUP = LABEL_PREFIX + "cgroup-parent"
LABEL_DEADLINE = LABEL_PREFIX + "deadline"
"""Seconds since the boot that LABEL_OWNER_BOOT names, at which an attempt is over, whatever its container does."""
LABEL_INPUTS = LABEL_PREFIX + "inputs"
"""On an image: sha256 of everything that went into it."""

CHECKER = "checker"
"""Recipe under images/ of what judges workspaces; its recipe says `role: checker`."""

# Paths inside a container.
FRAMEWORK_DIR = "/opt/framework"
WORKSPACE_DIR = "/workspace"
STATE_DIR = "/state"
IN_DIR = "/in"
OUT_DIR = "/out"
GATEWAY_DIR = "/run/gateway"
GATEWAY_SOCKET = "gateway.sock"
"""Name of the socket inside GATEWAY_DIR; the directory is mounted, so a restarted gateway is found again."""
GATEWAY_PORT = 4000
"""Loopback port inside the container that the shim forwards to the gateway's socket."""
SHIM = "/usr/local/bin/runner-shim"

# Files in /in and /out.
STEP_FILE = "step.json"
PROMPT_FILE = "prompt.txt"
SCRIPT_FILE = "script"
STDIN_FILE = "stdin"
ANSWERS_FILE = "answers.json"
"""Prepared answers, for `runner-ask`."""
INPUTS_FOLDER = "inputs"
CHECK_FILE = "check.json"
"""What a check is told, in /in."""
VERDICTS_FILE = "checks.json"
"""What a check tells, in /out; and the verdicts kept of it."""
RESULT_FILE = "result.json"
SHIM_REPORT = ".shim.json"
"""Written by the shim into /out: exit, deadline, dropped log bytes, rusage and io of reaped children."""
ANSWERS_LOG = ".answers.jsonl"
"""Written by `runner-ask` into /out: each question, and the digest of the answer it got."""

EXIT_TIMED_OUT = 124
"""Exit code of a step whose deadline passed, as with timeout(1)."""


def canonical_project(name: str) -> str:
    """Return a Python project's name as it is compared, PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
