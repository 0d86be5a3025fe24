"""Stands in for `python:3.11-slim-bookworm` where no image registry is reached.

Debian's own Python 3.11, and what a base of one's own would hold besides: the certificates that
this machine trusts.
"""

import hashlib
import shutil
import subprocess
from pathlib import Path

from podman_engine import CACHE, Engine

_SUITE = "bookworm"
_PACKAGES = ("ca-certificates", "python-is-python3", "python3-dev", "python3-pip", "python3-venv")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def base_image(engine: Engine) -> str:
    """Returns the name of the image, which is made where the cache has none."""
    recipe = Path(__file__).read_bytes() + _CERTIFICATES.read_bytes()
    name = f"localhost/base:{hashlib.sha256(recipe).hexdigest()[:12]}"
    if not engine.podman("images", "--quiet", name).strip():
        tree = CACHE / "base"
        shutil.rmtree(tree, ignore_errors=True)
        _make_tree(tree)
        archive = CACHE / "base.tar"
        subprocess.run(["tar", "-C", tree, "-cf", archive, "."], check=True)
        shutil.rmtree(tree)
        engine.podman("import", archive, name)
        archive.unlink()
    return name


def _make_tree(tree: Path) -> None:
    done = subprocess.run(
        # Its mounts end with it, also where it is interrupted.
        [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
            *("debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}"),
            *(_SUITE, str(tree), *_mirror()),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"debootstrap:\n{done.stdout[-3000:]}"
    shutil.copyfile(_CERTIFICATES, tree / _CERTIFICATES.relative_to("/"))
    uv_settings = tree / "etc/uv/uv.toml"
    uv_settings.parent.mkdir()
    uv_settings.write_text("system-certs = true\n")
    # Python's own images let pip install beside what they bring.
    for refusal in tree.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        refusal.unlink()
    for package in (tree / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()


def _mirror() -> list[str]:
    """This machine's mirror of Debian; without one debootstrap takes its own."""
    options = ["--format", "$(REPO_URI)", "Created-By: Packages", f"Codename: {_SUITE}"]
    told = subprocess.run(["apt-get", "indextargets", *options], capture_output=True, text=True)
    return told.stdout.split()[:1]
