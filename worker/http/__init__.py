"""HTTP: /metrics for Prometheus, /livez and /readyz for an orchestrator, /v1/users for users' states."""
