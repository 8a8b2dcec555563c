"""How Hypothesis runs here."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No deadline: the machine is shared, and what is slow is a benchmark's to find. No database: a run must
# not depend on the one before; what it found once is kept as an example in the code.
settings.register_profile(
    "nextclick", max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("nextclick")
