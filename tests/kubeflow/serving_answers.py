"""What a pushed model answers where it is served: KServe's download, TensorFlow of that image."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from helpers.paths import REPOSITORY

TENSORFLOW: Final = "2.19.1"  # of `kubeflow.serving.image`
_ENVIRONMENT: Final = Path(__file__).parent / "serving_environment"


def serving_answers(
    uri: str, folder: Path, pictures: Sequence[Path], environment: Mapping[str, str]
) -> dict[str, Any]:
    """Downloads what `uri` names into `folder`, in an environment made by its own lock.

    Returns:
      What ``answer.py`` of that environment prints.
    """
    uv = shutil.which("uv", path=f"{REPOSITORY / '.tools/bin'}:{os.environ['PATH']}")
    assert uv, "uv is not there; `make setup` installs it"
    command = [uv, "run", "--quiet", "--locked", "--project", str(_ENVIRONMENT), "python"]
    done = subprocess.run(
        [*command, str(_ENVIRONMENT / "answer.py"), uri, str(folder), *map(str, pictures)],
        env={
            **{name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
            "UV_PROJECT_ENVIRONMENT": str(REPOSITORY / "build" / "serving-environment"),
            **environment,
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
