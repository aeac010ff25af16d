"""What is measured of requests, in Prometheus' terms. Paths are the routes', so that ids make no series."""

from prometheus_client import Counter, Histogram
from starlette.types import Scope

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
    REQUESTS.labels(method, path, str(status)).inc()
    SECONDS.labels(path).observe(seconds)
