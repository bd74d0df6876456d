"""What a container's spec becomes in the engine's words."""

from __future__ import annotations

from runner.engine.containers import container_config
from runner.engine.protocol import ContainerSpec, Mount, Resources

MIB = 1024**2
SPEC = ContainerSpec(
    name="one",
    image="sha256:1",
    argv=("/shim", "--", "do it"),
    env={"A": "1", "B": "x=y"},
    user="1000:1001",
    workdir="/workspace",
    mounts=(
        Mount(source="vol", target="/workspace", volume=True),
        Mount(source="/host/in", target="/in", read_only=True),
    ),
    resources=Resources(cpus=1.5, memory=64 * MIB, swap=MIB, pids=99, tmp=2 * MIB, shm=3 * MIB, log=MIB),
    labels={"k": "v"},
    cgroup_parent="/codegen-runner.x",
)


def test_everything_is_explicit() -> None:
    """Every protection and limit of the contract is in the call that creates the container."""
    assert container_config(SPEC) == {
        "Image": "sha256:1",
        "Entrypoint": ["/shim", "--", "do it"],
        "Cmd": [],
        "Env": ["A=1", "B=x=y"],
        "User": "1000:1001",
        "WorkingDir": "/workspace",
        "Hostname": "run",
        "Labels": {"k": "v"},
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Healthcheck": {"Test": ["NONE"]},
        "StopSignal": "SIGTERM",
        "HostConfig": {
            "Init": True,
            "AutoRemove": False,
            "RestartPolicy": {"Name": "no"},
            "NetworkMode": "none",
            "ReadonlyRootfs": True,
            "Tmpfs": {"/tmp": "rw,exec,nosuid,nodev,size=2097152,mode=1777"},
            "Mounts": [
                {
                    "Type": "volume",
                    "VolumeOptions": {"NoCopy": True},
                    "Source": "vol",
                    "Target": "/workspace",
                    "ReadOnly": False,
                },
                {
                    "Type": "bind",
                    "BindOptions": {"Propagation": "rprivate"},
                    "Source": "/host/in",
                    "Target": "/in",
                    "ReadOnly": True,
                },
            ],
            "CapDrop": ["ALL"],
            "CapAdd": [],
            "SecurityOpt": ["no-new-privileges"],
            "Privileged": False,
            "PidsLimit": 99,
            "Memory": 64 * MIB,
            "MemorySwap": 65 * MIB,
            "NanoCpus": 1_500_000_000,
            "ShmSize": 3 * MIB,
            "OomScoreAdj": 500,
            "IpcMode": "private",
            "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
            "LogConfig": {
                "Type": "local",
                "Config": {"max-size": str(32 * MIB), "max-file": "2", "compress": "false"},
            },
            "CgroupParent": "/codegen-runner.x",
        },
    }
