from __future__ import annotations

import pytest

from trainer.config import FitSettings
from trainer.tuning.space import SPACE, space, values_in
from worker.errors import SettingError
from worker.settings.fields import fields_of


def test_the_space_is_made_of_settings() -> None:
    """Nothing is searched that a training does not know."""
    assert set(SPACE) <= {key for key, _ in fields_of(FitSettings)}


@pytest.mark.parametrize("name", SPACE)
def test_the_defaults_lie_in_the_space(name: str) -> None:
    """So the search can begin with them."""
    values, default = SPACE[name], values_in(FitSettings(), SPACE)[name]

    assert values._contains(values.to_internal_repr(default))


def test_what_is_given_is_not_searched() -> None:
    """Whoever chose a setting has it as chosen."""
    assert set(space(["model.dropout", "model.cell"])) == set(SPACE) - {"model.dropout"}


def test_something_must_be_left_to_search() -> None:
    """The error says what is searched."""
    with pytest.raises(
        SettingError, match=r"no setting is left to search: optimizer.learning_rate, .* are all given"
    ):
        space(list(SPACE))
