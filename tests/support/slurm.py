"""A Slurm of one node on this machine, in a folder of the test's own."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_SETTINGS = """\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={controller}
SlurmdPort={node}
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
KillWait=2
SlurmdParameters=config_overrides
NodeName=localhost NodeAddr=127.0.0.1 CPUs=2 RealMemory=16000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
_DAEMONS = ("munged", "slurmctld", "slurmd")


def lacking() -> str | None:
    """Return what is missing to start one."""
    path = f"{os.environ['PATH']}{os.pathsep}/usr/sbin"
    missing = [name for name in (*_DAEMONS, "sbatch") if shutil.which(name, path=path) is None]
    return f"no {missing[0]}: apt-get install slurm-wlm munge" if missing else None


@contextmanager
def start_slurm(folder: Path) -> Iterator[dict[str, str]]:
    """Start its three daemons; yield the variables by which its commands find them."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    settings = folder / "slurm.conf"
    controller, node = _free_ports()
    user = getpass.getuser()
    settings.write_text(
        _SETTINGS.format(folder=folder, user=user, controller=controller, node=node)
    )
    variables = {
        "SLURM_CONF": str(settings),
        "PATH": f"{os.environ['PATH']}{os.pathsep}/usr/sbin",
    }
    files = ("key-file", "socket", "pid-file", "log-file", "seed-file")
    of_munge = [f"--{name}={folder}/munge.{name.removesuffix('-file')}" for name in files]
    with ExitStack() as stack:
        for command in (
            ["munged", "--foreground", "--force", *of_munge],
            ["slurmctld", "-D"],
            ["slurmd", "-D", "-N", "localhost"],
        ):
            stack.enter_context(_daemon(command, folder, variables))
        _wait_for_node({**os.environ, **variables}, folder)
        yield variables


@contextmanager
def _daemon(command: list[str], folder: Path, variables: dict[str, str]) -> Iterator[None]:
    with (folder / f"{command[0]}.out").open("w") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _wait_for_node(environment: dict[str, str], folder: Path) -> None:
    stop = time.monotonic() + 60
    while time.monotonic() < stop:
        done = subprocess.run(
            ["sinfo", "-h", "-o", "%T"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.stdout.strip() == "idle":
            return
        time.sleep(0.5)
    logs = "\n".join(path.read_text() for path in sorted(folder.glob("*.out")))
    raise AssertionError(f"no node of Slurm: {done.stdout}{done.stderr}\n{logs}")
