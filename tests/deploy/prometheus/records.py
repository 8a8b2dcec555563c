"""What each record is under some series."""

from __future__ import annotations

from typing import Final

from tests.deploy.prometheus.cases import OTHER, WORKER

RECORDS: Final = {
    "group:nextclick_records:rate5m": (
        {
            f'nextclick_records_total{{{WORKER}, became="clicks"}}': "0+60x20",
            f'nextclick_records_total{{{WORKER}, became="dead_letter"}}': "0+30x20",
            f'nextclick_records_total{{{OTHER}, became="clicks"}}': "0+90x20",
        },
        '{group="shop"}',
        3.0,
    ),
    "group:nextclick_lag_records:sum": (
        {
            f'nextclick_lag_records{{{WORKER}, partition="0"}}': "5x20",
            f'nextclick_lag_records{{{OTHER}, partition="1"}}': "7x20",
        },
        '{group="shop"}',
        12.0,
    ),
    "group:nextclick_lag_seconds:max": (
        {
            f'nextclick_lag_seconds{{{WORKER}, partition="0"}}': "5x20",
            f'nextclick_lag_seconds{{{OTHER}, partition="1"}}': "7x20",
        },
        '{group="shop"}',
        7.0,
    ),
    "group:nextclick_click_to_recommendation_seconds:p99_rate5m": (
        {
            f'nextclick_click_to_recommendation_seconds_bucket{{{WORKER}, le="0.01"}}': "0+50x20",
            f'nextclick_click_to_recommendation_seconds_bucket{{{OTHER}, le="0.01"}}': "0+49x20",
            f'nextclick_click_to_recommendation_seconds_bucket{{{WORKER}, le="+Inf"}}': "0+50x20",
            f'nextclick_click_to_recommendation_seconds_bucket{{{OTHER}, le="+Inf"}}': "0+50x20",
        },
        '{group="shop"}',
        0.01,
    ),
    "group_release:nextclick_quality_hits:ratio_rate6h": (
        {
            f'nextclick_quality_clicks_total{{{WORKER}, release="4"}}': "0+10x20",
            f'nextclick_quality_hits_total{{{WORKER}, release="4"}}': "0+2.5x20",
        },
        '{group="shop", release="4"}',
        0.25,
    ),
    "group_release:nextclick_quality_popular_hits:ratio_rate6h": (
        {
            f'nextclick_quality_clicks_total{{{WORKER}, release="4"}}': "0+10x20",
            f'nextclick_quality_popular_hits_total{{{WORKER}, release="4"}}': "0+5x20",
        },
        '{group="shop", release="4"}',
        0.5,
    ),
}
"""Series, labels and value 10 minutes later, by record."""
