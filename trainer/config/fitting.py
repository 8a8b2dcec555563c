"""The settings on which the result of a training depends. Every manifest records these settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

from trainer.config.sections import (
    Blend,
    Dataset,
    Features,
    Loss,
    Model,
    Optimizer,
)
from trainer.config.training import Evaluation, Training
from worker.settings.fields import Section, fact, fields_of
from worker.settings.loading import checked, replaced


class FitSettings(Section):
    """The settings of a training. Together with the clicks, they determine the release."""

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
        """Return settings with these values, each named by its key without the section. Raises SettingError.

        >>> FitSettings.of(hidden_size=64).model.hidden_size
        64
        """
        document: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            section, key = full_key(name).split(".")
            document.setdefault(section, {})[key] = value
        return checked(cls, document, source="a call")

    def replaced(self, **values: Any) -> Self:
        """Return a copy with these new values, which are named as in `of`. Raises SettingError."""
        return replaced(self, {full_key(name): value for name, value in values.items()})

    def to_json(self) -> dict[str, Any]:
        """Return the settings as recorded in a manifest: by section, durations in seconds."""
        return self.model_dump(mode="json", include=set(FitSettings.model_fields))


_KEYS: Final = {key.partition(".")[2]: key for key, _ in fields_of(FitSettings)}


def full_key(name: str) -> str:
    """Return the key with its section, such as `model.layers`. Raises TypeError for an unknown `name`."""
    if name not in _KEYS:
        raise TypeError(f"{name} is not a training setting")
    return _KEYS[name]


def keys_with(name: str, value: Any = True) -> list[str]:
    """Return the dotted keys of the training settings whose fact `name` equals `value`."""
    return [key for key, field in fields_of(FitSettings) if fact(field, name) == value]


def recorded(settings: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key in the `settings` of a manifest; None if the manifest has no value.

    Manifests of older releases have no sections; there, the value is under the last part of the key.
    Settings that have been renamed since are not found.
    """
    section, _, name = key.partition(".")
    values = settings.get(section)
    return values.get(name) if isinstance(values, Mapping) else settings.get(name)
