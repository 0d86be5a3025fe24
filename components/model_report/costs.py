"""What each step cost, from where the runner notes it."""

from collections.abc import Mapping

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2
from tfx.types import Artifact

from inception_finetune.components.settings import Section


class StepCost(Section):
    """Time and throughput of one step."""

    name: str
    seconds: float | None  # of the run in which it was not cached; None where nothing notes it
    images: int | None  # that it went through; None where it goes through none

    @property
    def images_per_second(self) -> float | None:
        """None where the seconds or the images are unknown."""
        if not self.images or not self.seconds:
            return None
        return self.images / self.seconds


def step_costs(
    metadata_file: str | None, made: Mapping[str, Artifact], images: Mapping[str, int]
) -> tuple[StepCost, ...]:
    """The cost of each step that wrote an artifact.

    Args:
      metadata_file: the runner's SQLite file, None where it has none.
      made: an output artifact of each step, by the step's name.
      images: how many images the step processed, by its name.

    Returns:
      In the order of `made`.
    """
    seconds = _seconds(metadata_file, made) if metadata_file else {}
    return tuple(
        StepCost(name=name, seconds=seconds.get(name), images=images.get(name)) for name in made
    )


def _seconds(metadata_file: str, made: Mapping[str, Artifact]) -> dict[str, float]:
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = metadata_file
    connection.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
    store = mlmd.MetadataStore(connection)
    found = {}
    for name, artifact in made.items():
        events = store.get_events_by_artifact_ids([artifact.id])
        makers = [event.execution_id for event in events if event.type == event.OUTPUT]
        for execution in store.get_executions_by_id(makers):
            if execution.last_known_state == metadata_store_pb2.Execution.COMPLETE:
                elapsed = execution.last_update_time_since_epoch
                elapsed -= execution.create_time_since_epoch
                if elapsed >= 0:  # else the clock was set back meanwhile
                    found[name] = elapsed / 1000
    return found
