"""Prometheus metrics of all worker processes together."""

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

PREFIX = "numpy_neural_mf"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)

REQUESTS = Counter(f"{PREFIX}_requests", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram(f"{PREFIX}_request_seconds", "Seconds to answer a request.", ["route"], buckets=BUCKETS)
UNKNOWN = Counter(f"{PREFIX}_unknown_ids", "Unknown ids in requests.", ["kind"])
STORED = Counter(f"{PREFIX}_stored_ratings", "Ratings stored.")
RELOADS = Counter(f"{PREFIX}_reloads", "Reloads of replaced model files, done or failed.", ["result"])
# The age of a model is time() minus this.
WRITTEN = Gauge(
    f"{PREFIX}_model_written_seconds",
    "When the model file was written, in seconds since 1970.",
    ["model"],
    multiprocess_mode="max",
)


def exposition() -> bytes:
    """Return all metrics in the text format of Prometheus."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
