"""The HTTP side: /metrics for Prometheus, /livez and /readyz for an orchestrator."""
