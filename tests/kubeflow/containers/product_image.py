"""The image of kubeflow/Dockerfile, which is left as it is."""

import hashlib
from pathlib import Path

from base_image import base_image
from docker.utils.build import exclude_paths
from podman_engine import Engine

from helpers.paths import REPOSITORY

NAME = "localhost/inception-finetune"
REVISION = "0123456789abcdef"
DOCKERFILE = REPOSITORY / "kubeflow" / "Dockerfile"


def build_image(engine: Engine) -> str:
    """Returns the image's name with its digest, as a package takes it.

    A build whose layers are all in the cache takes minutes still: it reads the 4 GB that one stage
    copies from the other. So an image of the very same files is taken as it is.
    """
    base = base_image(engine)
    tag = f"{NAME}:{_digest_of_sent_files(base)}"
    if not engine.podman("images", "--quiet", tag).strip():
        arguments = (f"--build-arg=BASE={base}", f"--build-arg=REVISION={REVISION}")
        engine.build(DOCKERFILE, "--layers", *arguments, f"--tag={tag}")
        tags = engine.podman("images", "--format={{.Repository}}:{{.Tag}}", NAME).split()
        if earlier := [other for other in tags if other != tag]:
            engine.podman("rmi", "--force", *earlier)
    digest = engine.podman("image", "inspect", "--format={{.Digest}}", tag)
    return f"{NAME}@{digest.strip()}"


def _digest_of_sent_files(base: str) -> str:
    lines = (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    digest = hashlib.sha256(f"{base} {REVISION}".encode())
    for name in sorted(exclude_paths(str(REPOSITORY), patterns, dockerfile="kubeflow/Dockerfile")):
        path = Path(REPOSITORY, name)
        if path.is_file():
            digest.update(f"\0{name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]
