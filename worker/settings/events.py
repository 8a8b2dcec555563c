"""The section `[events]`: the types of events, and what an event of each type does."""

from __future__ import annotations

from typing import Final, Self

from pydantic import field_validator, model_validator

from worker.core import paths
from worker.core.event import Decoder
from worker.core.event_types import EventTypes
from worker.core.ids import canonical
from worker.core.states import States
from worker.core.where import Clause
from worker.schemas.parser import FramedParser
from worker.settings.common import Click
from worker.settings.fields import Section, setting

_BY_TYPE: Final = frozenset({"step", "exclude", "exclude_days", "request"})


class Events(Section):
    """The types of events, and what an event of each type does. By default, every event is a click."""

    type: str = setting(
        "", "Path of the event's type, such as `type` or `@header.type`. Empty: every event is a click."
    )
    step: tuple[str, ...] = setting(
        (),
        "Types that are clicks: they move the network and get a list. Events of types in no list are "
        "skipped. Default: all types that are neither in `exclude` nor `request`, and events without a type.",
    )
    exclude: tuple[str, ...] = setting(
        (),
        "Types, such as `purchase`, whose item is left out of the user's lists for `exclude_days`. They are "
        "no clicks, unless they are in `step`, too.",
    )
    exclude_days: int = setting(
        30, "Number of days for which an item of an event in `exclude` is left out of lists.", ge=1, le=3_650
    )
    fatigue: int = setting(
        0,
        "Number of times that an item is shown to a user without a click on it before it is left out of the "
        "user's lists. 0: no limit.",
        ge=0,
        le=255,
    )
    fatigue_hours: int = setting(
        24, "Number of hours after its last show for which such an item is left out.", ge=1, le=8_760
    )
    request: str = setting("request", "Type of the events that ask for a list.", min_length=1)

    @field_validator("type")
    @classmethod
    def _is_path(cls, value: str) -> str:
        if value:
            paths.parse(value)
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.type and (given := sorted(self.model_fields_set & _BY_TYPE)):
            raise ValueError(f"{given[0]}: no effect without type; set type as well")
        if not self.exclude and "exclude_days" in self.model_fields_set:
            raise ValueError("exclude_days: no effect without exclude; set exclude as well")
        if not self.fatigue and "fatigue_hours" in self.model_fields_set:
            raise ValueError("fatigue_hours: no effect without fatigue; set fatigue as well")
        for name in ("step", "exclude"):
            types = getattr(self, name)
            if "" in map(canonical, types):
                raise ValueError(f"{name} has an empty type; remove it")
            if canonical(self.request) in map(canonical, types):
                raise ValueError(
                    f"{self.request!r} is in {name}, but it is the type of requests; remove it, or set "
                    "request to another type"
                )
        return self

    def types(self) -> EventTypes | None:
        """Return the types of events for the decoder of a worker; None if every event is a click."""
        if not self.type:
            return None
        return EventTypes(paths.parse(self.type), step=self.step, exclude=self.exclude, request=self.request)

    def prepare(self, states: States) -> None:
        """Let `states` keep the items to leave out of lists. Call this before any user has a row."""
        if self.exclude:
            states.keep_bought(self.exclude_days)
        if self.fatigue:
            states.keep_shown(self.fatigue, self.fatigue_hours)

    def clauses(self) -> tuple[Clause, ...]:
        """Return the condition for an event to be a click, for the trainer, which uses nothing else."""
        types = self.types()
        return (types.steps(),) if types else ()

    def decoder(self, click: Click, parser: FramedParser | None = None) -> Decoder:
        """Return the decoder of a worker for records of clicks (`Click.decoder`).

        Raises ValueError if the path of the type leads through another list than the items of `click`.
        """
        return click.decoder(parser, types=self.types())
