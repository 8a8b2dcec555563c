"""The parts of the dashboards: variables, queries, panels and links to the runbook.

An expression uses Grafana's variables `$group`, `$instance` and `$__rate_interval`.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import common as options
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as StatPanel
from grafana_foundation_sdk.builders.timeseries import Panel as TimePanel
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

PROMETHEUS: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")

TAG: Final = "nextclick"
"""The tag of our dashboards; each links to the others that have it."""

WORKERS: Final = 'group=~"$group", instance=~"$instance"'
"""The selector of the chosen workers."""

GROUPS: Final = 'group=~"$group"'
"""The selector of the chosen consumer groups."""

_WIDTH: Final = 24
"""The width of a dashboard in units of Grafana."""


class Query(NamedTuple):
    """An expression of Prometheus, and the name of its series in the legend."""

    expr: str
    legend: str = ""


Limits = Sequence[Threshold]
"""The colours of a number. Each colour applies from its own value on; the first colour has no value."""


def above(warning: float, critical: float) -> Limits:
    """Return limits of a number that is bad if it is high."""
    return Threshold(None, "green"), Threshold(warning, "yellow"), Threshold(critical, "red")


def below(warning: float, critical: float) -> Limits:
    """Return limits of a number that is bad if it is low."""
    return Threshold(None, "red"), Threshold(critical, "yellow"), Threshold(warning, "green")


def only(number: float) -> Limits:
    """Return limits of a number that must be exactly `number`."""
    return Threshold(None, "red"), Threshold(number, "green"), Threshold(number + 1, "red")


def less_than(number: float) -> Limits:
    """Return limits of a number that is critical from `number` on."""
    return Threshold(None, "green"), Threshold(number, "red")


Panel = StatPanel | TimePanel

_P = TypeVar("_P", StatPanel, TimePanel)


def alerts(severity: str = ".+") -> str:
    """Return the selector of our alerts that fire now. An alert without a group concerns all groups."""
    ours = f'alertstate="firing", alertname=~"Nextclick.+", severity=~"{severity}"'
    return f'ALERTS{{{ours}, group=~"$group|"}}'


def stat(
    title: str,
    description: str,
    expr: str,
    *,
    unit: str,
    limits: Limits = (),
    runbooks: Sequence[str] = (),
) -> StatPanel:
    """Return a panel with one current number. A worker that is gone leaves no old number behind."""
    panel = (
        StatPanel()
        .title(title)
        .description(description)
        .unit(unit)
        .thresholds(_thresholds(limits or [Threshold(None, "text")]))
    )
    panel.color_mode(common.BigValueColorMode.BACKGROUND if limits else common.BigValueColorMode.NONE)
    panel.graph_mode(common.BigValueGraphMode.NONE)
    panel.reduce_options(options.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.with_target(Dataquery().expr(expr).instant().ref_id("A"))
    return _completed(panel, height=4, runbooks=runbooks)


def graph(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    limits: Limits = (),
    stacked: bool = False,
    negative: bool = False,
    runbooks: Sequence[str] = (),
) -> TimePanel:
    """Return a panel of series over time. `limits` are dashed lines in it."""
    panel = TimePanel().title(title).description(description).unit(unit).line_width(1)
    panel.fill_opacity(30 if stacked else 8).show_points(common.VisibilityMode.NEVER)
    legend = options.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST).show_legend(True)
    panel.legend(legend.placement(common.LegendPlacement.BOTTOM))
    tooltip = options.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    panel.tooltip(tooltip.sort(common.SortOrder.DESCENDING))
    if not negative:
        panel.min(0)
    if stacked:
        panel.stacking(options.StackingConfig().mode(common.StackingMode.NORMAL))
    if limits:
        dashed = options.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel.thresholds(_thresholds(limits)).thresholds_style(dashed)
    for letter, (expr, name) in zip(string.ascii_uppercase, queries, strict=False):
        panel.with_target(Dataquery().expr(expr).legend_format(name).range().ref_id(letter))
    return _completed(panel, height=8, runbooks=runbooks)


def dashboard(
    uid: str,
    title: str,
    description: str,
    rows: Mapping[str, Sequence[Panel]],
    *,
    period: str,
    per_worker: bool = False,
) -> Dashboard:
    """Return a dashboard with `rows` of panels.

    `period`: the time range that it opens with, such as 1h. `per_worker`: whether workers can be chosen.
    """
    others = grafana.DashboardLink("Nextclick").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    made = (
        grafana.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .time(f"now-{period}", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(others.as_dropdown(False).include_vars(True).keep_time(True))
        .variables(list(_variables(per_worker=per_worker)))
    )
    for heading, panels in rows.items():
        made.with_row(grafana.Row(heading))
        for panel in panels:
            in_a_row = 6 if isinstance(panel, StatPanel) else 3
            made.with_panel(panel.span(_WIDTH // min(in_a_row, len(panels))))
    built = made.build()
    for number, one in enumerate(built.panels or (), 1):
        one.id_val = number
    return built


def _completed(panel: _P, *, height: int, runbooks: Sequence[str]) -> _P:
    panel.links([_runbook(alert) for alert in runbooks])
    return panel.datasource(PROMETHEUS).no_value("no data").height(height)


def _runbook(alert: str) -> grafana.DashboardLink:
    """Return a link to the section of an alert."""
    path = f"deploy/README.md#{alert.lower()}"
    link = grafana.DashboardLink(f"Runbook: {alert}").type(DashboardLinkType.LINK)
    return link.url(f"${{runbooks}}/{path}").target_blank(True)


def _thresholds(limits: Limits) -> grafana.ThresholdsConfig:
    return grafana.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(list(limits))


def _variables(*, per_worker: bool) -> Iterator[Builder[VariableModel]]:
    yield grafana.DatasourceVariable("datasource").label("Data source").type("prometheus")
    yield _choice("group", "Group", 'label_values(up{job=~"nextclick-.+"}, group)')
    if per_worker:
        workers = 'label_values(up{job="nextclick-worker", group=~"$group"}, instance)'
        yield _choice("instance", "Worker", workers)
    yield (
        grafana.TextBoxVariable("runbooks")
        .label("Address of the runbooks")
        .description("Where your team reads the repository of Nextclick. Links to runbooks start with it.")
        .default_value("")
    )


def _choice(name: str, label: str, query: str) -> grafana.QueryVariable:
    """Return a variable whose values Prometheus knows; all are chosen at first."""
    return (
        grafana.QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(text="All", value="$__all"))
    )
