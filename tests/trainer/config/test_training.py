from __future__ import annotations

import pytest

from trainer.config import FitSettings
from worker.errors import SettingError


def test_few_clicks_are_seen_more_often() -> None:
    """At least 5 epochs; more where these would show few clicks, within reason; or as many as are set."""
    usual = FitSettings().training

    assert [usual.epochs_for(clicks) for clicks in (10**6, 10**5, 20_000, 1)] == [5, 10, 50, 100]
    assert FitSettings.of(epochs=3).training.epochs_for(1) == 3


def test_a_prediction_has_a_click_before_it() -> None:
    """The first click of a session cannot be predicted."""
    assert FitSettings().evaluation.min_context == 1
    with pytest.raises(
        SettingError, match=r"evaluation\.min_context is 0: must be greater than or equal to 1"
    ):
        FitSettings.of(min_context=0)
