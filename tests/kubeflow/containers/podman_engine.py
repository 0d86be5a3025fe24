"""Podman as a service of its own, which takes everything that it has started with it.

Service and containers live in a process and a mount namespace: when the first process of these
ends, even by SIGKILL of the tests, the kernel ends all others and undoes their mounts. Images and
layers stay in a folder from one run to the next.
"""

import errno
import os
import resource
import shutil
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import docker
from filelock import FileLock

from helpers.paths import REPOSITORY

CACHE = REPOSITORY / "build" / "containers"
# What lasts as long as a run; a socket's path must be short. Its name is this checkout's.
SCRATCH = Path(tempfile.gettempdir()) / f"containers-{zlib.crc32(bytes(CACHE)):08x}"
CGROUP = "inception-finetune-tests"  # that all containers are in
PROGRAMS = ("podman", "runc", "debootstrap", "unshare", "setpriv")
_FREE_BYTES = 25 * 10**9  # of images, layers and uv's cache of a first build
_START_SECONDS = 60
_END_SECONDS = 30
# What podman and runc keep in /run is in a layer above this machine's own.
_SERVICE = """
mount -t tmpfs tmpfs "$1/state"
mkdir "$1/state/run" "$1/state/work"
mount -t overlay overlay -o "lowerdir=/run,upperdir=$1/state/run,workdir=$1/state/work" /run
podman system service --time 0 "unix://$1/socket" &
wait
"""
_CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
"""
_STORAGE_CONF = """
[storage]
driver = "overlay"
graphroot = "{storage}"
runroot = "/run/containers/storage"
"""


class Engine:
    """A running service."""

    address = f"unix://{SCRATCH}/socket"

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    @contextmanager
    def client(self) -> Iterator[docker.DockerClient]:
        with closing(docker.DockerClient(base_url=self.address, timeout=600)) as client:
            yield client

    def podman(self, *arguments: object, **options: object) -> str:
        """Runs `podman ARGUMENTS` by the service, and returns what it prints."""
        done = subprocess.run(
            ["podman", "--remote", "--url", self.address, *map(str, arguments)],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **options,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, f"podman {arguments[0]}\n{done.stdout[-6000:]}"
        return done.stdout

    def build(self, file: Path, *options: str) -> str:
        """Builds an image of this checkout by a Dockerfile, and returns what the build prints."""
        where = ("--network=host", f"--cgroup-parent=/{CGROUP}", f"--file={file}")
        return self.podman("build", *where, *options, REPOSITORY)

    def remove_containers(self) -> None:
        """Removes those of builds too, which `podman rm --all` leaves."""
        if names := self.podman("ps", "--all", "--external", "--quiet").split():
            self.podman("rm", "--force", "--time", "0", *names)


def why_not() -> str:
    """Returns in a line why containers cannot be run here, or nothing."""
    if missing := [program for program in PROGRAMS if not shutil.which(program)]:
        return f"No {', '.join(missing)} on this machine. Run `make test-containers` as root."
    if os.geteuid() or subprocess.run([*_namespaces(), "true"], capture_output=True).returncode:
        return "No right to make namespaces and mounts. Run as root, in a privileged container."
    CACHE.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(CACHE).free < _FREE_BYTES and not (CACHE / "storage").exists():
        return f"Less than {_FREE_BYTES / 1e9:.0f} GB free in {CACHE}. Make room."
    return ""


@contextmanager
def running_engine() -> Iterator[Engine]:
    """Starts the service; at the end nothing is left of it but the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(FileLock(CACHE / "lock", timeout=0))
        shutil.rmtree(SCRATCH, ignore_errors=True)  # of a run that was killed
        SCRATCH.mkdir(mode=0o700)
        stack.callback(shutil.rmtree, SCRATCH)
        stack.callback(_remove_cgroups)
        environment = _configuration()
        with (SCRATCH / "log").open("wb") as log:
            service = subprocess.Popen(
                [*_namespaces(), "sh", "-ec", _SERVICE, "sh", str(SCRATCH)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C on a terminal leaves it for the removal
            )
        stack.callback(service.wait)
        stack.callback(service.kill)
        _wait_for(service)
        engine = Engine(environment)
        engine.remove_containers()  # of a run that was killed
        stack.callback(engine.remove_containers)
        yield engine


def _namespaces() -> list[str]:
    """Runs a command as the first process of namespaces that end with it and with us."""
    return [
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
    ]


def _configuration() -> dict[str, str]:
    """Writes the engine's files; returns the environment by which it finds them."""
    for folder in (SCRATCH / "state", CACHE / "tmp"):
        folder.mkdir(exist_ok=True)
    limits = {
        # Raising them, as podman does, is a right that root may lack in a container.
        "files": resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        "processes": resource.getrlimit(resource.RLIMIT_NPROC)[1],
    }
    (SCRATCH / "containers.conf").write_text(_CONTAINERS_CONF.format(**limits))
    (SCRATCH / "storage.conf").write_text(_STORAGE_CONF.format(storage=CACHE / "storage"))
    return {
        **os.environ,
        "CONTAINERS_CONF": str(SCRATCH / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(SCRATCH / "storage.conf"),
        "TMPDIR": str(CACHE / "tmp"),  # where builds keep their cache mounts
    }


def _wait_for(service: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while not (SCRATCH / "socket").exists():
        said = (SCRATCH / "log").read_text("utf-8")[-2000:]
        assert service.poll() is None and time.monotonic() < end, f"podman does not start:\n{said}"
        time.sleep(0.1)


def cgroups() -> list[Path]:
    """Our containers' control groups, inner ones first: in each hierarchy, or in the only one."""
    root = Path("/sys/fs/cgroup")
    parents = [*root.glob(CGROUP), *root.glob(f"*/{CGROUP}")]
    return sorted((group for parent in parents for group in parent.glob("**/")), reverse=True)


def _remove_cgroups() -> None:
    """Waits for what was killed a moment ago: a group is busy until its last process is gone."""
    end = time.monotonic() + _END_SECONDS
    for group in cgroups():
        while True:
            try:
                group.rmdir()
                break
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > end:
                    raise
            time.sleep(0.1)
