"""A Flink cluster of processes on loopback: a JobManager, TaskManagers, Beam's job server."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

HOST = "localhost"
START_SECONDS = 120
# Flink 1.19 on Java 17, as Flink's own config.yaml has them.
_OPENED = ("lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent",
           "util.concurrent.atomic", "util.concurrent.locks")  # fmt: skip
_JAVA = (
    "java",
    "-XX:+UseSerialGC",
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    *(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED),
)
# Flink's start script works memory out; started without it, each share must be named.
_MEMORY = {
    "taskmanager.cpu.cores": 1,
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.heap.size": "384m",
    "taskmanager.memory.task.off-heap.size": "128m",
    "taskmanager.memory.managed.size": "128m",
    "taskmanager.memory.network.min": "512m",
    "taskmanager.memory.network.max": "512m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
}


class Cluster:
    """Addresses and processes; `directory` holds a log for each process."""

    def __init__(self, jars: Path, directory: Path, task_managers: int) -> None:
        self.directory = directory
        self._jars = jars
        self.rest_port, self._rpc_port, self.job_port = _free_ports(3)
        self.job_endpoint = f"{HOST}:{self.job_port}"
        self.task_managers: list[subprocess.Popen[bytes]] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._count = task_managers

    def start(self) -> None:
        configuration = {
            "jobmanager.rpc.address": HOST,
            "jobmanager.rpc.port": self._rpc_port,
            "jobmanager.bind-host": HOST,
            "rest.address": HOST,
            "rest.bind-address": HOST,
            "rest.port": self.rest_port,
            "taskmanager.host": HOST,
            "taskmanager.bind-host": HOST,
            "taskmanager.numberOfTaskSlots": 1,
            # A killed TaskManager is found out after two failed calls, so in seconds; one that
            # a busy machine holds up is not given up.
            "heartbeat.interval": 1000,
            "heartbeat.rpc-failure-threshold": 2,
            "heartbeat.timeout": 60000,
            # The cluster has Beam's classes already; a job need not bring them.
            "classloader.resolve-order": "parent-first",
            # A job that finds no TaskManager any more waits this long, each time that it restarts.
            "slot.request.timeout": 20000,
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": 3,
            "restart-strategy.fixed-delay.delay": "1 s",
            "io.tmp.dirs": str(self.directory),
            **_MEMORY,
        }
        text = "".join(f"{key}: {value}\n" for key, value in configuration.items())
        (self.directory / "config.yaml").write_text(text)
        runtime = "org.apache.flink.runtime"
        self._java(
            "jobmanager",
            "-Xmx512m",
            f"{runtime}.entrypoint.StandaloneSessionClusterEntrypoint",
            f"--configDir={self.directory}",
        )
        self._java(
            "jobserver",
            "-Xmx512m",
            "org.apache.beam.runners.flink.FlinkJobServerDriver",
            f"--flink-master={HOST}:{self.rest_port}",
            f"--job-host={HOST}",
            f"--job-port={self.job_port}",
            "--artifact-port=0",
            "--expansion-port=0",
            f"--artifacts-dir={self.directory / 'artifacts'}",
        )
        for _ in range(self._count):
            self.add_task_manager()
        self.wait_for_task_managers(self._count)
        _wait(lambda: _listens(self.job_port), "Beam's job server listens")

    def add_task_manager(self) -> None:
        process = self._java(
            f"taskmanager-{len(self.task_managers)}",
            "-Xmx768m",
            "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
            f"--configDir={self.directory}",
        )
        self.task_managers.append(process)

    def kill_task_managers(self) -> None:
        for process in self.task_managers:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()

    def wait_for_task_managers(self, count: int) -> None:
        _wait(
            lambda: self.rest("overview")["taskmanagers"] == count,
            f"{count} TaskManagers are there",
        )

    def rest(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{HOST}:{self.rest_port}/{path}", timeout=10) as answer:
            return json.load(answer)

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        for process in reversed(self._processes):
            # Each is a group of its own, with the SDK workers that it started.
            with ExitStack() as ignored:
                ignored.callback(process.wait)
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGTERM)
                    try:
                        process.wait(10)
                    except subprocess.TimeoutExpired:
                        os.killpg(process.pid, signal.SIGKILL)

    def _java(self, name: str, memory: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*_JAVA, memory, "-cp", f"{self._jars}/*", *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=self.directory,
            )
        self._processes.append(process)
        return process


@contextmanager
def running_cluster(jars: Path, directory: Path, task_managers: int = 2) -> Iterator[Cluster]:
    """Starts the cluster, yields it, and ends all its processes."""
    cluster = Cluster(jars, directory, task_managers)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def _wait(condition, what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise TimeoutError(f"{what}: not within {START_SECONDS} s")


def _listens(port: int) -> bool:
    with socket.create_connection((HOST, port), timeout=1):
        return True


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def main() -> None:
    """``python tests/flink/cluster.py``: a cluster to try things on, until Ctrl+C or SIGTERM."""
    import tempfile

    for ends in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs ignore SIGINT
        signal.signal(ends, signal.default_int_handler)
    jars = Path(__file__).parents[2] / "build" / "flink" / "jars"
    with (
        tempfile.TemporaryDirectory(prefix="flink-") as directory,
        running_cluster(jars, Path(directory)) as cluster,
    ):
        print(f"beam.runner=flink beam.job_endpoint={cluster.job_endpoint}", flush=True)
        print(f"Flink's own page: http://{HOST}:{cluster.rest_port}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    main()
