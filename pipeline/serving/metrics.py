"""What the server counts, in Prometheus' text."""

from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_PREFIX: Final = "inception_finetune"
# Seconds: a picture of 75 pixels takes some 10 ms, and a hostile one up to 3 s to decode.
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Of one server; each has a registry of its own."""

    content_type: Final = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        """Begins at 0."""
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, processor time, open files
        self.requests = Counter(
            f"{_PREFIX}_requests",
            "Answered requests; a code from 400 on is an error.",
            ["route", "code"],
            registry=registry,
        )
        self.seconds = Histogram(
            f"{_PREFIX}_request_seconds",
            "From a request's head to its answer.",
            ["route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge(
            f"{_PREFIX}_requests_in_flight",
            "Requests for predictions that are read, wait or are computed.",
            registry=registry,
        )
        self.pictures = Counter(f"{_PREFIX}_pictures", "Examples answered.", registry=registry)
        self.unread = Counter(
            f"{_PREFIX}_unreadable_pictures",
            "Of these, pictures that could not be read.",
            registry=registry,
        )
        self.version = Gauge(
            f"{_PREFIX}_model_version", "Version that is served; 0 is none.", registry=registry
        )
        self.answers = Counter(
            f"{_PREFIX}_answers",
            "Answered requests for predictions, by the version that answered.",
            ["version"],
            registry=registry,
        )
        self.canary = Gauge(
            f"{_PREFIX}_canary_version",
            "Version that gets a share of the requests; 0 is none.",
            registry=registry,
        )
        self.comparisons = Counter(
            f"{_PREFIX}_canary_comparisons",
            "Requests that both versions were to answer, by how that ended: compared, failed, "
            "skipped because others were under way, or without classes.",
            ["result"],
            registry=registry,
        )
        self.compared = Counter(
            f"{_PREFIX}_canary_compared_pictures",
            "Pictures that both versions have read, by whether they named the same class.",
            ["version", "canary", "same"],
            registry=registry,
        )
        self.loads = Counter(
            f"{_PREFIX}_model_loads",
            "Versions by how loading ended.",
            ["result"],
            registry=registry,
        )

    def text(self) -> bytes:
        """Returns all of them in Prometheus' text format."""
        return generate_latest(self._registry)
