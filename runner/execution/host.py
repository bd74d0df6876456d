"""Facts of the machine a run was carried out on, for its record."""

from __future__ import annotations

import functools
from importlib import metadata

from runner.engine.protocol import EngineInfo
from runner.evidence.records import Host
from runner.names import PROJECT


def describe_host(info: EngineInfo, boot: str) -> Host:
    """Return what a record says about the machine; nothing in it names the machine or its owner."""
    return Host(
        kernel=info.kernel,
        operating_system=info.operating_system,
        engine_version=info.version,
        api_version=info.api_version,
        cgroup=f"v{info.cgroup_version} {info.cgroup_driver}",
        cpus=info.cpus,
        memory_bytes=info.memory,
        runner_version=runner_version(),
        boot=boot,
    )


@functools.cache
def runner_version() -> str:
    """Return the version of this program."""
    return metadata.version(PROJECT)
