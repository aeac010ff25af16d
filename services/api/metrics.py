"""What is measured of requests, in Prometheus' terms. Paths are the routes', so that ids make no series."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import Scope

from services.engines.breaker import Circuit
from services.engines.gate import Gate

REQUESTS = Counter("loam_requests_total", "Requests answered.", ["method", "path", "status"])
SECONDS = Histogram(
    "loam_request_seconds",
    "Time from a request to the end of its response.",
    ["path"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
METHODS = frozenset({"GET", "POST", "DELETE", "OPTIONS", "HEAD", "PUT", "PATCH"})


def observe(scope: Scope, status: int, seconds: float) -> None:
    """Count a request that has been answered; status 0 when its caller left before."""
    path = getattr(scope.get("route"), "path", "none")
    method = scope["method"] if scope["method"] in METHODS else "other"
    requests, taken = _series(method, path, status)
    requests.inc()
    taken.observe(seconds)


@lru_cache(maxsize=4096)
def _series(method: str, path: str, status: int) -> tuple[Counter, Histogram]:
    """Find the series once: prometheus_client takes a lock and makes a tuple of texts each time it is asked."""
    return REQUESTS.labels(method, path, str(status)), SECONDS.labels(path)


def gates_registry(gates: Iterable[Gate]) -> CollectorRegistry:
    """Give what the models' gates have counted: they count for themselves, so that no request waits for a metric."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Gates(list(gates)))
    return registry


class _Gates(Collector):
    def __init__(self, gates: Sequence[Gate]) -> None:
        self._gates = gates

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        outcomes = CounterMetricFamily(
            "loam_model_requests", "Requests to a model by what became of them.", labels=["model", "outcome"]
        )
        circuit = GaugeMetricFamily("loam_model_circuit", "1 at the circuit's state.", labels=["model", "state"])
        running = GaugeMetricFamily("loam_model_in_flight", "Requests that a model is answering.", labels=["model"])
        waiting = GaugeMetricFamily("loam_model_waiting", "Requests that wait for a place.", labels=["model"])
        for gate in self._gates:
            for outcome, times in sorted(gate.counts.items()):
                outcomes.add_metric([gate.model_id, outcome], times)
            for state in Circuit:
                circuit.add_metric([gate.model_id, state.value], gate.breaker.circuit is state)
            running.add_metric([gate.model_id], gate.places.taken)
            waiting.add_metric([gate.model_id], gate.places.waiting)
        yield from (outcomes, circuit, running, waiting)
