"""How the fake engine describes itself."""

from __future__ import annotations

from runner.engine.protocol import EngineInfo

INFO = EngineInfo(
    version="20.10.0",
    api_version="1.41",
    platform="linux/amd64",
    cgroup_version=1,
    cgroup_driver="cgroupfs",
    cpus=4,
    memory=8 * 1024**3,
    rootless=False,
    storage_driver="memory",
    root_dir="/nowhere",
    kernel="6.1.0",
    operating_system="Fake",
    has_init=True,
)
"""Docker 20.10 with cgroup v1 and four cores."""
