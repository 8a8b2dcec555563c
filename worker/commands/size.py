"""`size`: reckon the workers, partitions, memory and traffic that a deployment needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import click

from worker import commandline
from worker.commandline import Command, config_options, json_option, option
from worker.config import Settings
from worker.core.sizing import BUSY, SPARE, Costs, Demand, Limits, Size, size
from worker.errors import SettingError

COSTS: Final = Path(__file__).with_name("costs.json")
"""Written by `make bench-costs`."""

_SCALES: Final = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}
_SECONDS: Final = {"": 1, "s": 1, "min": 60, "h": 3_600, "d": 86_400}
_BYTES: Final = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


class Amount(click.ParamType[float]):
    """A click type for positive numbers such as 300k, 200M or 1B."""

    name = "number"
    form = r"(\d+(?:\.\d+)?) ?([kMGB]?)"
    example = "a number such as 50000, 300k, 200M or 1B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number that `value` stands for."""
        found = re.fullmatch(self.form, str(value))
        number = self.number(*found.groups()) if found else 0
        if number <= 0:
            self.fail(f"{value!r} must be {self.example}", param, ctx)
        return number

    def number(self, digits: str, scale: str, *_: str) -> float:
        """Return the number of the parts of a text in this `form`."""
        return float(digits) * _SCALES[scale]


class Rate(Amount):
    """A click type for numbers per time; its values are per second."""

    name = "rate"
    form = Amount.form + r"(?: ?/ ?(s|min|h|d))?"
    example = "a number per time such as 50000/s, 3M/h or 200M/d"

    def number(self, digits: str, scale: str, *more: str) -> float:
        """Return the number per second."""
        return super().number(digits, scale) / _SECONDS[more[0] or ""]


class Bytes(Amount):
    """A click type for sizes of memory; its values are bytes."""

    name = "size"
    form = r"(\d+(?:\.\d+)?) ?([KMGT]i)B?"
    example = "a size such as 512Mi or 4Gi"

    def number(self, digits: str, scale: str, *_: str) -> float:
        """Return the number of bytes."""
        return float(digits) * _BYTES[scale]


@click.command("size", cls=Command)
@option("--clicks", type=Rate(), required=True, metavar="RATE", help="Clicks, such as 50000/s or 200M/d.")
@option("--users", type=Amount(), required=True, metavar="NUMBER", help="Users with a state, such as 20M.")
@option("--items", type=Amount(), required=True, metavar="NUMBER", help="Items, such as 300k.")
@option("--memory", type=Bytes(), default="4Gi", metavar="SIZE", help="Memory of each worker.")
@config_options
@json_option
def size_command(*, clicks: float, users: float, items: float, memory: float, as_json: bool) -> None:
    """Reckon the workers, partitions, memory and Kafka traffic for a load, from measured costs.

    `--clicks` is the rate at the busiest time. `--users` are those who click within `state.user_ttl`. The
    costs hold for hidden size 128, a GRU, lists of 20 and one core per worker.
    """
    settings = commandline.settings(Settings)
    state = settings.state
    limits = Limits(
        memory_bytes=memory,
        flush_seconds=state.flush_interval,
        session_timeout_seconds=settings.kafka.session_timeout_ms / 1e3,
    )
    try:
        found = size(Demand(clicks, users, round(items)), Costs.from_json(COSTS.read_bytes()), limits)
    except ValueError as error:
        raise SettingError(f"--memory {_size(memory)} is too small: {error}") from None
    lines = _lines(found, memory)
    if 0 < state.max_users < found.users_per_worker:
        lines.append(
            f"Set state.max_users to at least {found.users_per_worker:,.0f}; with {state.max_users:,}, "
            "users would be evicted."
        )
    commandline.show(found.document(), *lines, as_json=as_json)


def _lines(found: Size, memory: float) -> list[str]:
    need = {found.workers_for_cpu: "their CPU", found.workers_for_memory: "their memory"}
    reason = need.get(found.workers, "so that one may be lost")
    rows = {
        "workers": f"{found.workers:,}, by {reason}"
        if found.workers in need
        else f"{found.workers}, {reason}",
        "  by CPU": f"{found.workers_for_cpu:,} of one core, {BUSY:.0%} busy, at "
        f"{found.click_microseconds:.0f} µs per click and list",
        "  by memory": f"{found.workers_for_memory:,} with {_size(memory)} each",
        "partitions": f"{found.partitions:,} of the clicks topic; their number cannot be changed later",
        "memory of a worker": f"{_size(found.worker_bytes)} with a margin of {SPARE - 1:.0%}, for "
        f"{found.users_per_worker:,.0f} users and, during a switch, two releases",
        "Kafka, before replication": f"clicks {_size(found.clicks_bytes_per_second)}/s, lists "
        f"{_size(found.lists_bytes_per_second)}/s, states {_size(found.state_bytes_per_second)}/s",
        "state topic": f"{_size(found.state_topic_bytes)}",
        "restart of a worker": f"{_seconds(found.restore_seconds)} to load its users",
        "loss of a worker": f"{_seconds(found.takeover_seconds)} until others serve its users",
        "room to grow": f"{found.clicks_growth:,.1f} times the clicks by CPU, "
        f"{found.users_growth:,.1f} times the users by memory",
    }
    return [f"{name:26} {text}" for name, text in rows.items()]


def _size(count: float) -> str:
    for unit, size_bytes in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20)):
        if count >= size_bytes:
            return f"{count / size_bytes:.1f} {unit}"
    return f"{count / 1024:.1f} KiB"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.0f} min"
