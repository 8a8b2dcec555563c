"""The report: a release, its results and examples as a self-contained HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trainer.config import FitSettings, recorded
from trainer.evaluation.compare import title
from trainer.evaluation.metrics import Figure
from trainer.evaluation.report.baselines import model, part
from trainer.evaluation.report.causes import online
from trainer.evaluation.report.charts import LineChart, line_chart, number, percent
from trainer.evaluation.report.examples import Step
from trainer.evaluation.report.published import Published
from trainer.evaluation.report.verdict import verdict
from trainer.evaluation.slices import EvaluationResult
from worker.core.manifest import Manifest
from worker.settings.fields import fields_of
from worker.topics.releases import CANDIDATE, CHAMPION

_LISTS: Final = ("coverage", "popularity", "novelty")
"""Metrics of the lists that do not depend on the targets."""

_LEARNED: Final = {"clicks", "sessions", "first_click", "last_click"}
"""Keys of a manifest that describe the training clicks. Manifests from other programs may lack these keys."""

_WHOLE: Final = 100.0


class Cell(NamedTuple):
    """A table cell with a metric; `best`: whether it is the best in its column."""

    value: str
    interval: str
    best: bool


class Bar(NamedTuple):
    """A bar that shows a share. `length` and the interval, `low` to `high`, are in % of the longest bar."""

    name: str
    value: str
    length: float
    low: float | None
    high: float | None


class Panel(NamedTuple):
    """A slice of the predictions, with a bar for each model."""

    title: str
    predictions: int
    bars: list[Bar]


def render(
    manifest: Manifest,
    result: EvaluationResult,
    examples: Sequence[Sequence[Step]],
    names: Mapping[str, str],
    *,
    measured: str,
    caution: str = "",
    published: Published | None = None,
) -> str:
    """Return the HTML page.

    `names`: display names by item id. `measured`: a sentence on the clicks that `result` is measured on.
    `caution`: a warning if the release was trained on these clicks; else empty. `published`: None if no
    releases topic was read.
    """
    # Ids and names come from the senders of clicks, so everything is escaped.
    pages = Environment(
        loader=PackageLoader("trainer.evaluation", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    pages.filters.update(
        name=lambda item: names.get(item, item), percent=percent, number=number, model=model, code=_with_code
    )
    training = manifest.training
    recall = f"recall_at_{result.top}"
    return pages.get_template("page.html").render(
        manifest=manifest,
        training=training,
        has_extent=_LEARNED <= training.keys(),
        result=result,
        measured=measured,
        caution=caution,
        published=published,
        champion=_champion(published, recall),
        verdict=verdict(manifest, result, caution=caution, role=_role(published)),
        metrics=_table(result, lists=False),
        lists=_table(result, lists=True),
        overall=_bars(result.models, recall, _longest(result, recall)),
        panels=_panels(result, recall),
        recall=title(recall),
        # Online training records only the loss of its last window, so there is no curve.
        online=online(training),
        curves=[] if online(training) else curves(training.get("epochs", [])),
        settings=_settings(training.get("settings", {})),
        examples=examples,
    )


def _role(published: Published | None) -> str:
    """Return the pointer that names the release; empty if no pointer names it, or its number is unknown."""
    if published is None or published.number is None:
        return ""
    roles = {published.champion: CHAMPION, published.candidate: CANDIDATE}
    return roles.get(published.number, "")


def curves(epochs: Sequence[Mapping[str, float]]) -> list[LineChart]:
    """Return a chart for each metric that all epochs have."""
    shared = [name for name in (epochs[0] if epochs else ()) if all(name in epoch for epoch in epochs)]
    charts = {name: [epoch[name] for epoch in epochs] for name in shared}
    return [line_chart(_curve_title(name), values) for name, values in charts.items()]


def _champion(published: Published | None, metric: str) -> float | None:
    """Return the champion's metric on its own test split; None if unknown."""
    manifest = published.champion_manifest if published else None
    return manifest.metrics.get(metric) if manifest else None


def _with_code(text: str) -> Markup:
    """Return `text` as markup, with `backquoted` parts as code."""
    parts = enumerate(text.split("`"))
    return Markup("").join(Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in parts)


def _curve_title(name: str) -> str:
    if name == "loss":
        return "Training loss"
    return f"{title(name)}, validation" if "_at_" in name else name.replace("_", " ").capitalize()


def _table(result: EvaluationResult, *, lists: bool) -> dict[str, Any]:
    """Return a table with a row per model and a column per metric."""
    found = [name for name in next(iter(result.models.values())) if (name in _LISTS) == lists]
    bests = {
        name: max(figures[name].value for figures in result.models.values() if name in figures)
        for name in found
    }
    rows = {
        model: [_cell(name, figures.get(name), bests[name], lists=lists) for name in found]
        for model, figures in result.models.items()
    }
    return {"titles": [title(name) for name in found], "rows": rows}


def _cell(name: str, figure: Figure | None, best: float, *, lists: bool) -> Cell:
    if figure is None:
        return Cell("\N{EN DASH}", "", best=False)
    written = f"{figure.value:.2f} bits" if name == "novelty" else percent(figure.value)
    interval = ""
    if figure.low is not None and figure.high is not None:
        interval = f"{_WHOLE * figure.low:.2f}\N{EN DASH}{_WHOLE * figure.high:.2f}"
    return Cell(written, interval, best=figure.value == best and not lists)


def _panels(result: EvaluationResult, metric: str) -> list[Panel]:
    longest = _longest(result, metric)
    return [
        Panel(part(name), one.predictions, _bars(one.models, metric, longest))
        for name, one in result.slices.items()
    ]


def _longest(result: EvaluationResult, metric: str) -> float:
    """Return the largest value of any bar, so that the bars in all panels have the same scale."""
    parts = [result.models, *(one.models for one in result.slices.values())]
    figures = [models[name][metric] for models in parts for name in models]
    return max(max(figure.high or 0.0, figure.value) for figure in figures) or 1.0


def _bars(models: Mapping[str, Mapping[str, Figure]], metric: str, longest: float) -> list[Bar]:
    def length(value: float | None) -> float | None:
        return None if value is None else round(_WHOLE * value / longest, 2)

    return [
        Bar(
            name,
            percent(figures[metric].value),
            length(figures[metric].value) or 0.0,
            length(figures[metric].low),
            length(figures[metric].high),
        )
        for name, figures in models.items()
    ]


def _settings(settings: Mapping[str, Any]) -> list[tuple[str, Any, bool]]:
    """Return the key, the value, and whether the value differs from the default, for each setting.

    Old releases have keys without sections.
    """
    usual = FitSettings().to_json()
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= (
            {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
        )
    known = {key.partition(".")[2]: recorded(usual, key) for key, _ in fields_of(FitSettings)}
    return [(key, value, value != known.get(key.rpartition(".")[2])) for key, value in flat.items()]
