"""What bounds a server; imports nothing heavy, since the command line shows the defaults."""

from pydantic import Field

from inception_finetune.components.settings import Section


class Limits(Section):
    """What a request and all of them together may cost."""

    body_bytes: int = Field(32 << 20, ge=1 << 10)  # of a request
    examples: int = Field(64, ge=1)  # pictures in a request: one may take 3 s to decode
    requests: int = Field(16, ge=1)  # for predictions at a time: read, waiting or computed
    workers: int = Field(2, ge=1)  # of them, how many are computed at a time
    # Until a request's body is there, and from when its answer begins until all of it is taken.
    body_seconds: float = Field(30.0, gt=0)
    # Until a request's head is there, and for which a connection without requests is kept.
    idle_seconds: float = Field(30.0, gt=0)
    shutdown_seconds: float = Field(30.0, gt=0)  # for requests in flight at the end
    poll_seconds: float = Field(1.0, gt=0)  # between two looks for new versions
