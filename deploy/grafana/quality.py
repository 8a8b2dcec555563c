"""The dashboard of live quality: how good the lists are, and which release wins an experiment."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.panels import GROUPS, Panel, Query, above, below, dashboard, graph, stat


def quality() -> Dashboard:
    """Return the dashboard of live quality."""
    return dashboard(
        "nextclick-quality",
        "Nextclick: live quality and experiments",
        "A list is judged by the next click of its user: a hit is a click on one of its items.",
        {
            "Is it well?": [*_state()],
            "Quality": [*_quality()],
            "Experiment": [*_experiment()],
            "Releases": [*_releases()],
        },
        period="24h",
    )


def _share(name: str, window: str, by: str = "") -> str:
    """Return the expression of a quality counter per judged click."""
    counted, judged = (
        f"sum{by}(rate(nextclick_quality_{one}_total{{{GROUPS}}}[{window}]))" for one in (name, "clicks")
    )
    return f"{counted} / ({judged} > 0)"


def _state() -> Iterator[Panel]:
    yield stat(
        "Hit rate",
        "Share of the judged clicks of the last 6 hours that were on the user's list, over all releases.",
        _share("hits", "6h"),
        unit=units.PercentUnit,
        runbooks=["NextclickNoBetterThanPopular"],
    )
    yield stat(
        "Above popular items",
        "The hit rate minus the hit rate that a fixed list of popular items has on the same clicks. At 0 the "
        "network is of no use.",
        f"{_share('hits', '6h')} - {_share('popular_hits', '6h')}",
        unit=units.PercentUnit,
        limits=below(0.01, 0),
        runbooks=["NextclickNoBetterThanPopular"],
    )
    yield stat(
        "Fallback lists",
        "Share of the lists of the last hour that are popular items, because the release does not know the "
        "items that the user clicked. If the share is high, retrain more often.",
        f'sum(rate(nextclick_recommendations_total{{{GROUPS}, reason="cold"}}[1h]))'
        f" / (sum(rate(nextclick_recommendations_total{{{GROUPS}}}[1h])) > 0)",
        unit=units.PercentUnit,
        limits=above(0.25, 0.5),
    )
    yield stat(
        "Champions in service",
        "Number of different releases that workers serve as the champion. If it stays above one, a worker "
        "cannot adopt the newest.",
        f'count(count_values("release", nextclick_release{{{GROUPS}}}))',
        unit=units.Short,
        limits=above(2, 3),
        runbooks=["NextclickReleasesDiffer"],
    )
    yield stat(
        "Refused releases",
        "Releases that a worker refused within 24 hours, as a check failed. The one before stays in service.",
        f"round(max(sum by (instance) (increase(nextclick_releases_refused_total{{{GROUPS}}}[24h]))))",
        unit=units.Short,
        limits=above(1, 3),
        runbooks=["NextclickReleaseRefused"],
    )
    yield stat(
        "Last look",
        "Time since `nextclick-trainer watch` last read the hit rates. If it does not run, nothing is "
        "decided.",
        f"time() - max(nextclick_trainer_last_look_timestamp_seconds{{{GROUPS}}})",
        unit=units.Seconds,
        limits=above(120, 300),
        runbooks=["NextclickWatchSilent"],
    )


def _quality() -> Iterator[Panel]:
    by = " by (release) "
    yield graph(
        "Hit rate by release",
        "Hit rate within an hour, and that of a fixed list of popular items on the same clicks.",
        Query(_share("hits", "1h", by), "release {{release}}"),
        Query(_share("popular_hits", "1h"), "popular items"),
        unit=units.PercentUnit,
        runbooks=["NextclickNoBetterThanPopular"],
    )
    yield graph(
        "Mean reciprocal rank by release",
        "Mean of 1 / rank of the clicked item within an hour; 0 if it was not on the list. Hits at the top "
        "count more.",
        Query(_share("reciprocal_ranks", "1h", by), "release {{release}}"),
        Query(_share("popular_reciprocal_ranks", "1h"), "popular items"),
        unit=units.Short,
        runbooks=["NextclickNoBetterThanPopular"],
    )
    yield graph(
        "Lists by reason",
        "Lists published: by the network (`model`), or popular items as a fallback (`cold`).",
        Query(
            f"sum by (reason, role) (rate(nextclick_recommendations_total{{{GROUPS}}}[$__rate_interval]))",
            "{{role}}: {{reason}}",
        ),
        unit=units.CountsPerSecond,
        stacked=True,
    )


def _experiment() -> Iterator[Panel]:
    yield graph(
        "Hit rate in the experiment",
        "Hit rates of champion and candidate since the start of the experiment, on the same kind of users.",
        Query(f"max by (role) (nextclick_trainer_live_hit_rate{{{GROUPS}}})", "{{role}}"),
        unit=units.PercentUnit,
        runbooks=["NextclickWatchSilent"],
    )
    yield graph(
        "p-value",
        "Valid at every moment. The experiment is decided when it falls below watch.alpha. It begins at 1.",
        Query(f"min(nextclick_trainer_candidate_p_value{{{GROUPS}}})", "p-value"),
        unit=units.Short,
        runbooks=["NextclickWatchSilent"],
    )
    yield graph(
        "Judged clicks",
        "Clicks on which the hit rates are measured. There is no decision before candidate and "
        "champion each have watch.min_clicks.",
        Query(f"max by (role) (nextclick_trainer_judged_clicks{{{GROUPS}}})", "{{role}}"),
        unit=units.Short,
        runbooks=["NextclickWatchSilent"],
    )


def _releases() -> Iterator[Panel]:
    yield graph(
        "Champion by worker",
        "Number of the release that each worker serves as the champion. All workers must serve the "
        "same release.",
        Query(f"max by (instance) (nextclick_release{{{GROUPS}}})", "{{instance}}"),
        unit=units.Short,
        runbooks=["NextclickReleasesDiffer"],
    )
    yield graph(
        "Users of the candidate",
        "Share of the users who get the lists of the candidate.",
        Query(f"max(nextclick_candidate_share{{{GROUPS}}})", "share"),
        unit=units.PercentUnit,
    )
    yield graph(
        "Decisions",
        "Candidates promoted, dropped or given up within 24 hours.",
        Query(
            f"sum by (decision) (increase(nextclick_trainer_decisions_total{{{GROUPS}}}[24h]))",
            "{{decision}}",
        ),
        unit=units.Short,
        runbooks=["NextclickWatchSilent"],
    )
