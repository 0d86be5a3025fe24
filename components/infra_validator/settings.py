"""The configuration's section `infra`, what InfraValidator is given, and what it writes."""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from inception_finetune.components.settings import Section

RESULT: Final = "infra.json"  # file of the artifact: a `ServerCheck`
SERVE: Final = "serve"  # our own server
NONE: Final = "none"  # no check
# Properties of the artifact: TFX's own, 1 or 0, and the id of the model that it is about.
BLESSED: Final = "blessed"
MODEL_ID: Final = "current_model_id"
# What the words of a command line may hold.
MODEL_BASE_PATH: Final = "{model_base_path}"  # the folder of the versions
MODEL_NAME: Final = "{model_name}"
REST_PORT: Final = "{rest_port}"
GRPC_PORT: Final = "{grpc_port}"


def _is_a_server(value: Any) -> Any:
    if isinstance(value, str) and value in (SERVE, NONE):
        return value
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise ValueError(
            f"must be {SERVE}, {NONE} or a list of the words of a command line, such as "
            f"[tensorflow_model_server, --model_base_path={MODEL_BASE_PATH}, "
            f"--model_name={MODEL_NAME}, --rest_api_port={REST_PORT}, --port={GRPC_PORT}]"
        )
    text = " ".join(value)
    if MODEL_BASE_PATH not in text or not (REST_PORT in text or GRPC_PORT in text):
        raise ValueError(
            f"a command line must be told {MODEL_BASE_PATH} and {REST_PORT}, {GRPC_PORT} or both"
        )
    return tuple(value)


class InfraSection(Section):
    """What a model must show behind a real server before it is pushed."""

    # "serve" is ours, "none" leaves the check out, or the words of a command line.
    server: Annotated[str | tuple[str, ...], BeforeValidator(_is_a_server)] = SERVE
    pictures: int = Field(8, ge=1)  # test pictures that it is asked; all where there are fewer
    seconds: float = Field(300.0, gt=0, allow_inf_nan=False)  # to load the model and answer them
    # GB (10^9 bytes) resident in the server and its children together; None does not bound it.
    max_memory: float | None = Field(None, gt=0, allow_inf_nan=False)
    # Largest difference of a probability from TestPredictions'. A GPU there rounds to TF32.
    tolerance: float = Field(0.01, gt=0, le=1)


class InfraSettings(Section):
    """The parameter `settings` of InfraValidator, as JSON."""

    name: str  # of the model
    infra: InfraSection
    code_fingerprint: str  # sha256 of the code that checks
    server_fingerprint: str  # sha256 of our server's code; "" where another is asked


class ServerCheck(Section):
    """What came of the check; figures are None where the server did not get that far."""

    server: str  # "serve", or the command line as it was configured
    refusal: str | None  # why the model is not pushed
    oldest_serving: str  # the oldest version of TensorFlow Serving whose operations it keeps to
    protocols: tuple[str, ...] = ()  # that it was asked by: "REST", "gRPC"
    pictures: int = 0  # that it was asked
    tolerance: float  # of a probability
    largest_difference: float | None = None  # of a probability from TestPredictions'
    load_seconds: float | None = None  # from the start of the process until it is ready
    first_answer_ms: float | None = None  # of a picture, by the first protocol
    p50_ms: float | None = None  # of the requests after it, by the first protocol
    p99_ms: float | None = None
    requests: int = 0  # that these are of
    peak_memory_bytes: int | None = None  # resident, of the server and its children

    @property
    def blessed(self) -> bool:
        """Whether the model may be pushed."""
        return self.refusal is None

    @property
    def sentence(self) -> str:
        """What came of it."""
        if self.refusal:
            return f"Refused, not pushed: {self.refusal}"
        return (
            f"A real server answered {self.pictures} test pictures as the exported model did, to "
            f"{self.tolerance:g} of a probability. Its operations are those of TensorFlow Serving "
            f"{self.oldest_serving}."
        )

    @property
    def row(self) -> tuple[str, ...]:
        """The figures as tables have them: difference, load, first answer, p50, p99, peak."""
        peak = None if self.peak_memory_bytes is None else self.peak_memory_bytes / 1e6
        return (
            "–" if self.largest_difference is None else f"{self.largest_difference:.1e}",
            *(
                "–" if value is None else f"{value:,.1f}"
                for value in (self.load_seconds, self.first_answer_ms, self.p50_ms, self.p99_ms)
            ),
            "–" if peak is None else f"{peak:,.0f}",
        )
