"""What `watch` writes to the metadata: a line for each span, with its look and what was decided."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

import ml_metadata as mlmd
from ml_metadata.errors import AlreadyExistsError
from ml_metadata.proto import metadata_store_pb2

from inception_finetune.components.errors import UserError
from inception_finetune.pipeline.config import Config
from inception_finetune.pipeline.history.runs import open_store
from inception_finetune.pipeline.inputs import metadata_file

TYPE: Final = "inception_finetune.Watch"  # of the executions that are the lines
RUN, WAIT = "run", "wait"  # decisions
PUSHED, REFUSED, FAILED = "pushed", "refused", "failed"  # verdicts on a run
# ML Metadata keeps six decimals of a double in SQLite, which are none of a p-value.
_VALUES: Final[dict[Any, str]] = {
    str: "string_value",
    int: "int_value",
    float: "string_value",
}


@dataclass(frozen=True)
class Line:
    """A span that was looked at, and the decision that followed. Texts are empty if unknown."""

    span: str  # as the metadata of runs name it, with its version
    number: int  # of the span: days since 1970, or {SPAN}
    newest: int  # number of the newest span at that time
    pictures: int
    model: str = ""  # version that was in service, as it was pushed
    look: int = 0  # number among the looks at this model; 0: none was taken
    level: float = 0.0  # of each test of the look: a p-value up to it is an alarm
    smallest_p: float = 1.0
    test: str = ""  # whose p-value that is
    alarms: str = ""  # in words
    note: str = ""  # what the look could not do
    decision: str = WAIT
    reason: str = ""
    verdict: str = ""  # on the run that was decided; empty until it has ended
    run: int = 0  # its number
    version: str = ""  # that its model was pushed as
    accuracy: float = -1.0  # on test; negative where it was not measured
    why: str = ""  # it was refused or failed

    id: int = 0  # of the execution; 0 where it is not written yet
    when: datetime = datetime.fromtimestamp(0, UTC)  # it was written

    @property
    def is_open(self) -> bool:
        """Whether a run was decided that has not ended."""
        return self.decision == RUN and not self.verdict


_WRITTEN: Final = [field for field in fields(Line) if field.name not in ("id", "when")]
_READ: Final[dict[Any, Callable[[Any], Any]]] = {str: str, int: int, float: float}
_KINDS: Final[dict[Any, int]] = {
    str: metadata_store_pb2.STRING,
    int: metadata_store_pb2.INT,
    float: metadata_store_pb2.STRING,
}
_TYPE: Final = metadata_store_pb2.ExecutionType(
    name=TYPE, properties={field.name: _KINDS[field.type] for field in _WRITTEN}
)


def read_lines(config: Config) -> list[Line]:
    """Returns the lines of the pipeline `config.name`, oldest first."""
    store = open_store(config)
    if store is None or TYPE not in {kind.name for kind in store.get_execution_types()}:
        return []
    written = sorted(store.get_executions_by_type(TYPE), key=lambda one: int(one.id))
    return [_line(one) for one in written if one.name.startswith(f"{config.name}/")]


def write_line(config: Config, line: Line) -> Line:
    """Writes a new line in one transaction, or updates one that was read.

    Args:
      config: of the pipeline, which need not have run yet.
      line: its span has no other line.

    Returns:
      The line as it is stored.

    Raises:
      UserError: the span has a line already.
    """
    store = _store(config)
    execution = metadata_store_pb2.Execution(
        type_id=store.put_execution_type(_TYPE, can_add_fields=True, can_omit_fields=True),
        name=f"{config.name}/{line.span}",  # unique among executions of the type
        last_known_state=_state(line),
    )
    for field in _WRITTEN:
        value = getattr(line, field.name)
        value = repr(value) if field.type is float else value
        setattr(execution.properties[field.name], _VALUES[field.type], value)
    if line.id:
        execution.id = line.id
    try:
        [id_] = store.put_executions([execution])
    except AlreadyExistsError:
        raise UserError(
            f"Span {line.span} of {config.name} has a line in {metadata_file(config)} already: "
            "another `watch` works there. End it."
        ) from None
    [written] = store.get_executions_by_id([id_])
    return _line(written)


def _store(config: Config) -> mlmd.MetadataStore:
    """Opens the metadata, which are made where no run was yet."""
    path = metadata_file(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(path)
    connection.sqlite.connection_mode = connection.sqlite.READWRITE_OPENCREATE
    return mlmd.MetadataStore(connection)


def _state(line: Line) -> int:
    if line.is_open:
        return int(metadata_store_pb2.Execution.RUNNING)
    failed = line.verdict == FAILED
    return int(
        metadata_store_pb2.Execution.FAILED if failed else metadata_store_pb2.Execution.COMPLETE
    )


def _line(execution: metadata_store_pb2.Execution) -> Line:
    values: dict[str, Any] = {
        field.name: _READ[field.type](
            getattr(execution.properties[field.name], _VALUES[field.type])
        )
        for field in _WRITTEN
        if field.name in execution.properties
    }
    when = datetime.fromtimestamp(execution.create_time_since_epoch / 1000, UTC)
    return Line(**values, id=execution.id, when=when)
