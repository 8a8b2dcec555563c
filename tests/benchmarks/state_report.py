"""The figures of `bench_state` as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from tests.benchmarks.report import Target, judged, line

_PLAIN: Final = "{:,.0f}".format
_ONE: Final = "{:.1f}".format
_TWO: Final = "{:.2f}".format


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.0f} ms"


ROWS: Final[dict[str, tuple[str, Callable[[float], str]]]] = {
    "restore_1m_seconds": ("restore of 1M users after a stop, s", _TWO),
    "restore_over_per_user": ("  a record per user, saved as long, takes so much longer", _TWO),
    "restore_per_user_fresh_1m_seconds": ("    freshly written, s", _TWO),
    "restore_1m_after_kill_seconds": ("  after kill -9: with replay, s", _TWO),
    "restore_1m_after_kill_replay_seconds": ("    of it replay, s", _TWO),
    "takeover_250k_seconds": ("takeover of a killed worker, 250k users, s", _ONE),
    "restore_250k_others_p99_delay_seconds": ("  recovery adds to others' p99", _milliseconds),
    "rolling_restart_longest_wait_seconds": ("rolling restart: longest wait of a click, s", _TWO),
    "save_cost_share": ("saving: share of throughput", _percent),
    "save_stage_share": ("  of the loop's time", _percent),
    "saving_extra_p99_seconds": ("  adds to p99", _milliseconds),
    "state_bytes_over_per_user": ("  bytes / those of a record per user", _TWO),
    "state_bytes_per_click": ("  bytes per click", _PLAIN),
    "per_user_bytes_per_click": ("  bytes per click, a record per user", _PLAIN),
    "gib_per_million_users": ("memory of 1M users, GiB", _TWO),
    "gib_per_million_users_uuids": ("  with ids of 36 characters", _TWO),
    "gib_per_million_users_lstm": ("  LSTM", _TWO),
    "half_precision_recall_points": ("half precision costs points of Recall@20", "{:.3f}".format),
}
"""The label of each figure and how it is written, in the order of the table."""

TARGETS: Final = {
    "restore_1m_seconds": Target(8.0),
    "restore_over_per_user": Target(2.0, least=True),
    "takeover_250k_seconds": Target(25.0),
    "restore_250k_others_p99_delay_seconds": Target(0.200),
    "rolling_restart_longest_wait_seconds": Target(5.0),
    "save_cost_share": Target(0.10),
    "saving_extra_p99_seconds": Target(0.010),
    "state_bytes_over_per_user": Target(1.5),
    "gib_per_million_users": Target(0.6),
    "half_precision_recall_points": Target(0.05),
}


def table(figures: Mapping[str, float]) -> Iterator[str]:
    """Yield the lines of the table, without figures that were not measured."""
    shown = dict(figures)
    if "state_bytes_per_click" in figures:
        shown["state_bytes_over_per_user"] = (
            figures["state_bytes_per_click"] / figures["per_user_bytes_per_click"]
        )
    for name, (label, text) in ROWS.items():
        if name in shown:
            yield line(label, judged(shown, name, text, TARGETS), width=58)
