"""What made a model: kept with it, so that it can be made again."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

# An image has no repository; its build puts the revision here.
REVISION_VARIABLE = "INCEPTION_FINETUNE_REVISION"


def provenance() -> dict[str, object]:
    """Python's and all packages' versions, and the revision of this code, None if not known."""
    packages = {item.name.lower(): item.version for item in metadata.distributions()}
    return {
        "git_revision": git_revision(),
        "python": platform.python_version(),
        "packages": dict(sorted(packages.items())),
    }


def git_revision() -> str | None:
    """Of the checkout that this code lies in; ends in ``-dirty`` where it was changed."""
    if os.environ.get(REVISION_VARIABLE):
        return os.environ[REVISION_VARIABLE]
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    describe = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        found = subprocess.run(describe, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
