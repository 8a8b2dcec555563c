from __future__ import annotations

import math
import re
from typing import Any, Final

import pytest

from trainer.config import FitSettings
from worker.errors import SettingError
from worker.settings.fields import fields_of

NUMBERS: Final = [
    key for key, field in fields_of(FitSettings) if field.annotation in (float, tuple[float, ...])
]
"""The settings that are numbers, but no whole ones."""


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"cell": "transformer"}, "model.cell is 'transformer': must be 'gru', 'lstm' or 'elman'"),
        ({"epochs": 0}, "training.epochs is 0: must be greater than or equal to 1"),
        ({"learning_rate": 0.0}, "optimizer.learning_rate is 0.0: must be greater than 0"),
        ({"dropout": 1.0}, "model.dropout is 1.0: must be less than 1"),
        ({"scale": 100.0}, "model.scale is 100.0: must be less than or equal to 40"),
        ({"session_gap": -1.0}, "dataset.session_gap is -1.0: must be greater than or equal to 0"),
        ({"session_gap": 1e11}, "dataset.session_gap is 100000000000.0: must be less than or equal to 10"),
        ({"epochs": 2.5}, "training.epochs is 2.5: must be a valid integer"),
        ({"layers": True}, "model.layers is True: must be a valid integer"),
        ({"normalize": 1}, "model.normalize is 1: must be true or false"),
        ({"categorical": ["brand", 3]}, "features.categorical.1 is 3: must be a valid string"),
        ({"leave_last": -1}, "dataset.leave_last is -1: must be greater than or equal to 0"),
        ({"leave_last": 1, "split_at": 10**12}, "leave_last (1) and split_at both choose the test split"),
        ({"split_at": "soon"}, "dataset.split_at is 'soon': must be a time like 2020-09-13"),
        (
            {"embedding_size": 50},
            "model: embedding_size (50) and hidden_size (100) must be equal if output_table is tied",
        ),
        (
            {"label_smoothing": 0.1, "function": "bpr_max"},
            "loss: label_smoothing (0.1) cannot be combined with function (bpr_max)",
        ),
        ({"momentum": 0.9}, "optimizer: momentum (0.9) cannot be combined with algorithm (adam)"),
        (
            {"file": "a.csv"},
            "features: file is a.csv, but no columns are named; name them in categorical or numeric",
        ),
        ({"memory_clicks": 9, "cell": "elman"}, "memory_clicks (9) needs gates"),
        ({"top": 100, "exclude_recent": 1}, "top (100) and exclude_recent (1) together must not exceed 100"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named_with_its_value(setting: dict[str, Any], message: str) -> None:
    """And with what it must be; where two belong together, with both."""
    with pytest.raises(SettingError, match=re.escape(message)):
        FitSettings.of(**setting)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("key", [*NUMBERS, "blend.popularity_half_lives", "blend.transition_half_lives"])
def test_a_number_that_is_not_finite_is_refused(key: str, number: float) -> None:
    """In lists, too: a manifest could not hold it."""
    value: Any = [86_400.0, number] if "half_lives" in key else number

    with pytest.raises(SettingError, match=rf"{key}(\.1)? is '{number}': must be a "):
        FitSettings.of(**{key.partition(".")[2]: value})
