"""The figures as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tests.benchmarks.throughput import STAGES


@dataclass(frozen=True)
class Target:
    """The bound that a good figure keeps."""

    bound: float
    least: bool = False

    def met(self, value: float) -> bool:
        """Return whether `value` is good."""
        return value >= self.bound if self.least else value <= self.bound


TARGETS: Final = {
    "every_4k_over_passthrough": Target(0.55, least=True),
    "every_4k_cpu_microseconds": Target(36),
    "every_100k_cpu_microseconds": Target(110),
    "latest_4k_over_passthrough": Target(0.90, least=True),
    "rank_100k_over_product": Target(1.25),
    "exact_over_approximate_100k": Target(4.0, least=True),
    "approximate_recall_100k": Target(0.99, least=True),
    "exact_over_approximate_1m": Target(15.0, least=True),
    "approximate_recall_1m": Target(0.98, least=True),
    "adopt_1m_seconds": Target(60),
    "adopt_1m_p99_over_steady": Target(2.0),
    "adopt_1m_lost": Target(0),
    "resident_1m_over_tables": Target(1.3),
    "blend_250_over_none": Target(1.10),
    "blend_2000_over_none": Target(1.10),
    "latency_1000_uncommitted_p50_seconds": Target(0.010),
    "latency_1000_uncommitted_p99_seconds": Target(0.040),
    "latency_1000_committed_p50_seconds": Target(0.200),
    "scraped_p99_over_none": Target(1.20),
    "scrapes_answered_share": Target(1.0, least=True),
    "ready_seconds": Target(2.0),
    "resident_empty_bytes": Target(160e6),
}

_WIDTH: Final = 34


def table(figures: Mapping[str, float]) -> Iterator[str]:
    """Yield the lines of the table, without figures that were not measured."""
    yield from _throughput(figures)
    yield from _costs(figures)
    yield from _scale(figures)
    yield from _decoding(figures)
    yield from _latency(figures)
    yield from _rest(figures)


def _throughput(figures: Mapping[str, float]) -> Iterator[str]:
    names = [
        name.removesuffix("_events_per_second") for name in figures if name.endswith("_events_per_second")
    ]
    if names:
        yield line("throughput", "clicks/s", "/ passthrough")
    for name in names:
        ratio = f"{name}_over_passthrough"
        yield line(
            name.replace("_", " "),
            f"{figures[f'{name}_events_per_second']:,.0f}",
            judged(figures, ratio, "{:.2f}".format) if ratio in figures else "",
        )


def _costs(figures: Mapping[str, float]) -> Iterator[str]:
    names = [name.removesuffix("_cpu_microseconds") for name in figures if name.endswith("_cpu_microseconds")]
    if names:
        yield ""
        yield f"{'microseconds per click':{_WIDTH}}" + "".join(f"{cost:>9}" for cost in ("cpu", *STAGES))
    for name in names:
        costs = [figures.get(f"{name}_{cost}_microseconds") for cost in ("cpu", *STAGES)]
        cells = [f"{cost:9.1f}" for cost in costs if cost is not None]
        yield f"{name.replace('_', ' '):{_WIDTH}}" + "".join(cells)


def _scale(figures: Mapping[str, float]) -> Iterator[str]:
    sizes = [name.split("_")[2] for name in figures if name.startswith("approximate_recall_")]
    if sizes:
        yield ""
        yield line("CPU per list, µs", "exact", "approximate", "exact / approximate", "recall at 20")
    for size in sizes:
        yield line(
            f"{size} items",
            f"{figures[f'exact_{size}_microseconds']:,.0f}",
            f"{figures[f'approximate_{size}_microseconds']:,.0f}",
            judged(figures, f"exact_over_approximate_{size}", "{:.1f}".format),
            judged(figures, f"approximate_recall_{size}", "{:.4f}".format),
        )


def _decoding(figures: Mapping[str, float]) -> Iterator[str]:
    names = [name for name in figures if name.startswith("decode_") and name.endswith("_microseconds")]
    if names:
        yield ""
        yield line("decoding", "CPU µs per click", "/ plain JSON")
    for name in names:
        form = name.removeprefix("decode_").removesuffix("_microseconds")
        ratio = f"decode_{form}_over_json"
        yield line(
            form.replace("_", " "),
            f"{figures[name]:.2f}",
            f"{figures[ratio]:.2f}" if ratio in figures else "",
        )


def _latency(figures: Mapping[str, float]) -> Iterator[str]:
    names = [name.removesuffix("_p50_seconds") for name in figures if name.endswith("_p50_seconds")]
    if names:
        yield ""
        yield line("click to recommendation", "p50 ms", "p99 ms")
    for name in names:
        _, rate, isolation = name.split("_")
        cells = [judged(figures, f"{name}_{part}_seconds", _milliseconds) for part in ("p50", "p99")]
        yield line(f"{rate} clicks/s, read_{isolation}", *cells)


def _rest(figures: Mapping[str, float]) -> Iterator[str]:
    rows: dict[str, tuple[str, Callable[[float], str]]] = {
        "rank_100k_over_product": ("ranking 100k / matrix product", "{:.2f}".format),
        "blend_250_over_none": ("blend / none, batch 250", "{:.2f}".format),
        "blend_2000_over_none": ("blend / none, batch 2000", "{:.2f}".format),
        "adopt_1m_seconds": ("1M items: publish to serving, s", "{:.1f}".format),
        "adopt_1m_p99_over_steady": ("  p99 of a click meanwhile / steady", "{:.2f}".format),
        "adopt_1m_published_p99_over_steady": (
            "  p99 of a click once the command has ended / steady",
            "{:.2f}".format,
        ),
        "adopt_1m_lost": ("  clicks without an answer", "{:.0f}".format),
        "resident_1m_bytes": ("  resident, MB", _megabytes),
        "resident_1m_over_tables": ("  resident / tables", "{:.2f}".format),
        "scraped_p99_over_none": ("p99 of a click, scraped / not", "{:.2f}".format),
        "scrapes_answered_share": ("share of scrapes answered", "{:.3f}".format),
        "ready_seconds": ("start to ready, s", "{:.2f}".format),
        "resident_empty_bytes": ("resident without users, MB", _megabytes),
        "resident_100k_users_bytes": ("resident with 100k users, MB", _megabytes),
        "click_bytes": ("bytes of a click in Kafka", "{:.0f}".format),
        "list_bytes": ("bytes of a list of 20 items in Kafka", "{:.0f}".format),
    }
    measured = {name: row for name, row in rows.items() if name in figures}
    if measured:
        yield ""
    for name, (label, shown) in measured.items():
        yield line(label, judged(figures, name, shown))


def judged(
    figures: Mapping[str, float],
    name: str,
    shown: Callable[[float], str],
    targets: Mapping[str, Target] = TARGETS,
) -> str:
    """Return the figure, and behind it its target where it has one."""
    text, target = shown(figures[name]), targets.get(name)
    if target is None:
        return text
    sign = ">=" if target.least else "<="
    return f"{text} ({sign} {shown(target.bound)}{'' if target.met(figures[name]) else ': MISSED'})"


def line(label: str, *cells: str, width: int = _WIDTH) -> str:
    """Return a line of the table."""
    return f"{label:{width}}" + "".join(f"{cell:<26}" for cell in cells).rstrip()


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.0f}"
