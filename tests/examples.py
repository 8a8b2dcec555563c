"""How many examples of Hypothesis a law gets, as a share of what the profile of the run gives.

`make test` runs the profile `nextclick`, `make check` the profile `quick`: tests/conftest.py has both.
"""

from __future__ import annotations

from hypothesis import settings


def examples(share: float = 1.0, *, steps: float = 1.0) -> settings:
    """Return settings with these multiples of the profile's examples, and of a state machine's steps.

    To decorate a test with, or for the `settings` of a state machine.
    """
    profile = settings.get_profile(settings.get_current_profile_name())
    return settings(
        max_examples=max(1, round(share * profile.max_examples)),
        stateful_step_count=max(1, round(steps * profile.stateful_step_count)),
    )
