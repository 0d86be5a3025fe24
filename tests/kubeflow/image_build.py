"""Builds and runs an image from its Dockerfile where there is no Docker: the same steps, in a tree.

Each stage is a tree of its own, entered by chroot in a mount namespace. What a base image gives is
this machine's /usr and Python, below a layer that takes what the stage writes; nothing else of
this machine is seen, but for where its package registry is found.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from docker.utils.build import exclude_paths
from dockerfile_parse import DockerfileParser

ROOT = "0:0"
PYTHON = Path(sys.base_prefix)
PATHS = f"{PYTHON}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
# How this machine's package installers are set up, by files of /etc and by these variables.
_INSTALLERS = re.compile(r"(PIP|UV|SSL|REQUESTS|CURL)_\w+|(https?|no)_proxy", re.IGNORECASE)
_ACCOUNTS = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "shadow": "root:*:1::::::\nnobody:*:1::::::\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
    "gshadow": "root:*::\nnogroup:*::\n",
    "subuid": "",
    "subgid": "",
}
_FOLDERS = ("dev", "home", "proc", "root", "run", "tmp", "usr", "var/tmp")
_ENTER = r"""
set -e
tree=$1; layers=$2; python=$3; user=$4; read_only=$5; caches=$6; folder=$7; shift 7
mount --bind "$tree" "$tree"
layer() {
  mkdir -p "$tree$1" "$layers/$2" "$layers/$2.work"
  mount -t overlay overlay -o "lowerdir=$1,upperdir=$layers/$2,workdir=$layers/$2.work" "$tree$1"
}
layer /usr usr
case $python in /usr|/usr/*) ;; *) layer "$python" python ;; esac
mount --rbind /dev "$tree/dev"
mount -t proc proc "$tree/proc"
for cache in $caches; do
  mkdir -p "$tree${cache#*=}"
  mount --bind "${cache%%=*}" "$tree${cache#*=}"
done
if [ "$read_only" ]; then
  mount -o remount,ro "$tree/usr"
  case $python in /usr|/usr/*) ;; *) mount -o remount,ro "$tree$python" ;; esac
  mount -o remount,bind,ro "$tree"
  mount -t tmpfs -o mode=1777 tmpfs "$tree/tmp"
fi
ids="--reuid=${user%:*} --regid=${user#*:} --clear-groups"
exec chroot "$tree" setpriv $ids --no-new-privs env -i --chdir="$folder" "$@"
"""


@dataclass
class Stage:
    tree: Path
    layers: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATHS, "HOME": "/root"})
    user: str = ROOT
    folder: str = "/"
    entry_point: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def run(
        self,
        command: Sequence[str],
        *,
        read_only: bool = False,
        caches: Mapping[Path, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """A command in this stage, as its user; `read_only` leaves /tmp alone to write in."""
        values = {**self.environment, **(environment or {})}
        mounted = " ".join(f"{source}={target}" for source, target in (caches or {}).items())
        arguments = [
            *(self.tree, self.layers, PYTHON, self.user, "yes" if read_only else "", mounted),
            *(self.folder, *(f"{name}={value}" for name, value in values.items()), *command),
        ]
        script = ["unshare", "--mount", "sh", "-c", _ENTER, "enter", *map(str, arguments)]
        return subprocess.run(script, capture_output=True, text=True, check=False)


class ImageBuild:
    """Carries out a Dockerfile's instructions, one after the other; `stage` is the last one."""

    def __init__(self, context: Path, place: Path, build_arguments: Mapping[str, str]) -> None:
        self._context = context
        self._place = place
        self._given = dict(build_arguments)
        self._arguments: dict[str, str] = {}
        self._stages: dict[str, Stage] = {}
        patterns = (context / ".dockerignore").read_text().splitlines()
        kept = [line for line in patterns if line and not line.startswith("#")]
        # Docker sends the Dockerfile along, whatever is ignored; no COPY sees it.
        sent = exclude_paths(str(context), kept, dockerfile="kubeflow/Dockerfile")
        self.sent = sorted(
            path
            for path in sent
            if (context / path).is_file() and path not in ("kubeflow/Dockerfile", ".dockerignore")
        )
        self.bases: list[str] = []

    def build(self, dockerfile: Path) -> Stage:
        """Raises AssertionError with the output of the first step that fails."""
        parser = DockerfileParser(fileobj=BytesIO(dockerfile.read_bytes()), env_replace=False)
        for step in parser.structure:
            if step["instruction"] != "COMMENT":
                getattr(self, f"_{step['instruction'].lower()}")(step["value"])
        return self.stage

    def _arg(self, text: str) -> None:
        name, _, default = self._replaced(text).partition("=")
        self._arguments[name] = self._given.get(name, default.strip('"'))

    def _from(self, text: str) -> None:
        base, *name = re.split(r"\s+AS\s+", self._replaced(text), flags=re.IGNORECASE)
        self.bases.append(base)
        place = self._place / f"stage-{len(self._stages)}"
        self.stage = Stage(place / "tree", place / "layers")
        for folder in _FOLDERS:
            (self.stage.tree / folder).mkdir(parents=True)
        for link in ("bin", "lib", "lib64", "sbin"):
            (self.stage.tree / link).symlink_to(f"usr/{link}")
        (self.stage.tree / "tmp").chmod(0o1777)
        shutil.copytree("/etc", self.stage.tree / "etc", symlinks=True)
        for file, content in _ACCOUNTS.items():
            (self.stage.tree / "etc" / file).write_text(content)
        self._stages[name[0] if name else base] = self.stage

    def _env(self, text: str) -> None:
        for word in shlex.split(self._replaced(text)):
            name, _, value = word.partition("=")
            self.stage.environment[name] = value

    def _workdir(self, text: str) -> None:
        self.stage.folder = text
        (self.stage.tree / text.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def _user(self, text: str) -> None:
        self.stage.user = text

    def _entrypoint(self, text: str) -> None:
        self.stage.entry_point = json.loads(text)

    def _cmd(self, text: str) -> None:
        self.stage.command = json.loads(text)

    def _copy(self, text: str) -> None:
        *sources, target = shlex.split(text)
        origin, files = self._context, self.sent
        if sources[0].startswith("--from="):
            (source,) = sources[1:]
            tree = self._stages[sources[0].removeprefix("--from=")].tree
            goal = self.stage.tree / target.lstrip("/")
            goal.parent.mkdir(parents=True, exist_ok=True)
            # By links, which is a copy as long as no later step changes what was there.
            subprocess.run(["cp", "-al", tree / source.lstrip("/"), goal], check=True)
            return
        place = self.stage.tree / self.stage.folder.lstrip("/")
        for source in sources:
            chosen = [path for path in files if path == source or path.startswith(f"{source}/")]
            assert chosen, f"COPY {source}: nothing of that name is sent"
            for path in chosen:
                goal = place / target / path.removeprefix(source).lstrip("/")
                if path == source:
                    goal = place / target / source
                goal.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(origin / path, goal)

    def _run(self, text: str) -> None:
        caches = {}
        while mount := re.match(r"--mount=type=cache,target=(\S+)\s+", text):
            caches[_cache_of_uv()] = mount[1]
            text = text[mount.end() :]
        installers = {key: os.environ[key] for key in os.environ if _INSTALLERS.fullmatch(key)}
        done = self.stage.run(
            ["sh", "-c", text], caches=caches, environment={**installers, **self.stage.environment}
        )
        assert done.returncode == 0, f"RUN {text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"

    def _replaced(self, text: str) -> str:
        values = {**self._arguments, **(self.stage.environment if self._stages else {})}
        return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda match: values[match[1] or match[2]], text)


def _cache_of_uv() -> Path:
    """Of the machine, as `docker build` keeps one from build to build."""
    cache = Path(os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache" / "uv")
    cache.mkdir(parents=True, exist_ok=True)
    return cache
