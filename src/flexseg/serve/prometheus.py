"""What a monitoring system asks: requests, jobs and predictions, counted and timed."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]


class Metrics:
    """The figures of one server.

    Parameters
    ----------
    waiting : jobs that wait now.
    """

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "flexseg_requests",
            "Answers by address, method and status.",
            ["route", "method", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "flexseg_request_seconds",
            "Time until the answer was complete.",
            ["route", "method"],
            registry=self._registry,
        )
        self._predictions = Counter(
            "flexseg_predictions", "Cases predicted.", ["model"], registry=self._registry
        )
        self._predicting = Counter(
            "flexseg_prediction_seconds",
            "Time spent on predictions.",
            ["model"],
            registry=self._registry,
        )
        Gauge("flexseg_jobs_waiting", "Jobs that wait.", registry=self._registry).set_function(
            waiting
        )

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answer.

        Parameters
        ----------
        route : as it is written in the API, without ids.
        """
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)

    def predicted(self, model: str, cases: int, seconds: float) -> None:
        """Count predictions."""
        self._predictions.labels(model).inc(cases)
        self._predicting.labels(model).inc(seconds)

    def text(self) -> bytes:
        """All figures in the format of Prometheus."""
        return generate_latest(self._registry)
