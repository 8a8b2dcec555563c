"""The worker's Prometheus metrics. The worker itself never reads them."""

from worker.metrics.metrics import MAX_BYTES, MAX_USERS, TTL, Answered, Metrics
from worker.metrics.progress import Look

__all__ = ["MAX_BYTES", "MAX_USERS", "TTL", "Answered", "Look", "Metrics"]
