"""The arithmetic of the bench; what it measures is measured by `make bench`."""

from __future__ import annotations

import numpy as np
import orjson

from tests.benchmarks import decoding, report
from tests.benchmarks.clicks import USERS, clicks, zipf
from tests.benchmarks.passthrough import recommendation
from worker.config import Settings
from worker.core.click import Click
from worker.core.event import Decoder, Fields


def test_zipf_draws_number_n_one_nth_as_often_as_the_first() -> None:
    """Counts of many draws follow 1 / (n + 1), and no number is out of range."""
    drawn = zipf(np.random.default_rng(0), 50, 200_000)
    counts = np.bincount(drawn)

    assert len(counts) == 50
    np.testing.assert_allclose(counts[0] / counts[:10], np.arange(1, 11), rtol=0.05)


def test_the_clicks_of_the_load_are_clicks() -> None:
    """Every value decodes, to the user that the key names and an item of the catalogue."""
    decoder = Decoder(Fields())
    for key, value in clicks(7, 100):
        click = decoder.decode(value, key, -1)

        assert isinstance(click, Click)
        assert click.user_id.encode() == key
        assert int(click.user_id.removeprefix("user-")) < USERS
        assert int(click.item_id.removeprefix("item-")) < 7


def test_the_passthrough_sends_what_looks_like_a_recommendation() -> None:
    """As many items and scores as the worker's lists have."""
    document = orjson.loads(recommendation(Settings()))

    assert len(document["items"]) == len(document["scores"]) == 20
    assert document["event"].keys() == {"partition", "offset", "item_id", "timestamp"}


def test_the_table_says_which_targets_were_missed() -> None:
    """A figure with a bound names it; one beyond it says so; what was not measured is not there."""
    lines = "\n".join(report.table({"ready_seconds": 2.5, "resident_empty_bytes": 1e8}))

    assert "2.50 (<= 2.00: MISSED)" in lines
    assert "100 (<= 160)" in lines
    assert "throughput" not in lines


def test_each_form_of_a_click_is_the_same_click() -> None:
    """What is compared is equal."""
    decoder, forms = decoding.records()
    found = [[decoder.decode(value, None, -1) for value in values] for values in forms.values()]

    assert all(isinstance(click, Click) for click in found[0])
    assert all(clicks == found[0] for clicks in found)
    assert "decode_framed_avro_over_json" in decoding.costs(1, rounds=1)
