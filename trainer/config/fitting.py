"""The settings that decide which release `fit` makes of the same clicks. A manifest records it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

from trainer.config.sections import (
    Blend,
    Dataset,
    Evaluation,
    Features,
    Loss,
    Model,
    Optimizer,
    Training,
)
from worker.settings.fields import Section, fact, fields_of
from worker.settings.loading import checked, replaced


class FitSettings(Section):
    """The settings that decide which release `fit` makes of the same clicks."""

    dataset: Dataset = Dataset()
    features: Features = Features()
    model: Model = Model()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    blend: Blend = Blend()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Return settings by the bare names of their keys, which are unique here. Raises SettingError.

        >>> FitSettings.of(hidden_size=64).model.hidden_size
        64
        """
        document: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            section, key = full_key(name).split(".")
            document.setdefault(section, {})[key] = value
        return checked(cls, document, source="a call")

    def replaced(self, **values: Any) -> Self:
        """Return the same settings with other values, named as in `of`. Raises SettingError."""
        return replaced(self, {full_key(name): value for name, value in values.items()})

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a manifest records them: by section, durations in seconds."""
        return self.model_dump(mode="json", include=set(FitSettings.model_fields))


_KEYS: Final = {key.partition(".")[2]: key for key, _ in fields_of(FitSettings)}


def full_key(name: str) -> str:
    """Return the dotted key of a setting that decides a training. Raises TypeError where there is none."""
    if name not in _KEYS:
        raise TypeError(f"{name} is no setting of a training")
    return _KEYS[name]


def keys_with(name: str, value: Any = True) -> list[str]:
    """Return the dotted keys of the settings of a training with this fact."""
    return [key for key, field in fields_of(FitSettings) if fact(field, name) == value]


def recorded(settings: Mapping[str, Any], key: str) -> Any:
    """Return what a manifest says of a dotted key; None where it says nothing.

    Older releases have the settings without sections, under the last part of the key; renamed settings
    are not found.
    """
    section, _, name = key.partition(".")
    values = settings.get(section)
    return values.get(name) if isinstance(values, Mapping) else settings.get(name)
