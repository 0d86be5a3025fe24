"""Opens TensorBoard on all trainings below a pipeline's root."""

from pathlib import Path

from inception_finetune.components.errors import UserError
from inception_finetune.components.io.marked_folder import scratch_folder
from inception_finetune.pipeline.config import Config


def log_directories(config: Config) -> dict[str, Path]:
    """Of finished trainings, of trials, and of what is under way, by TensorBoard's name for it."""
    root = Path(config.root).resolve()
    runs = root.glob("artifacts/Trainer/model_run/*")
    finished = [path for path in runs if path.name.isdigit()]
    directories = {
        f"run {path.name}": path
        for path in sorted(finished, key=lambda path: int(path.name))
        if path.is_dir() and any(path.iterdir())
    }
    directories |= {
        f"trial {path.parent.name}": path for path in sorted(root.glob("tuning/*/*/logs"))
    }
    for path in root.glob("checkpoints/*/logs"):
        if not (path.parent / "published").exists():
            directories["in training"] = path
    return directories


def open_tensorboard(config: Config, *, host: str, port: int) -> None:
    """Serves until it is interrupted; new steps appear by themselves, new runs on a new start.

    Raises:
      UserError: nothing was trained yet, or TensorBoard ended in a failure, which it has printed.
    """
    directories = log_directories(config)
    if not directories:
        raise UserError(
            f"No training below {config.root}. "
            "Run `inception-finetune run` with the same --config first."
        )
    from tensorboard import program

    server = program.TensorBoard()
    # One folder with all of them: the projector does not see what ``--logdir_spec`` names.
    with scratch_folder("tensorboard-") as folder:
        for name, path in directories.items():
            (folder / name).symlink_to(path)
        server.configure((None, "--logdir", str(folder), "--host", host, "--port", str(port)))
        if server.main():
            raise UserError(f"TensorBoard cannot serve on {host}:{port}. Give another --port.")
