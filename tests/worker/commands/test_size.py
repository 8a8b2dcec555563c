"""`size` reckons with the costs that the package has."""

from __future__ import annotations

import orjson
import pytest
from click.testing import CliRunner, Result

from tests.benchmarks.costs import APPROXIMATE
from tests.benchmarks.scale import SIZES
from worker.__main__ import cli
from worker.commands.size import COSTS
from worker.core.sizing import Costs
from worker.errors import SettingError


def sized(*arguments: str) -> Result:
    """The result of `size` with these arguments."""
    return CliRunner().invoke(cli, ["size", *arguments])


def load(clicks: str = "1000/s", users: str = "2M", items: str = "20k") -> list[str]:
    """The options of a load."""
    return ["--clicks", clicks, "--users", users, "--items", items]


def test_the_costs_of_the_package_are_complete() -> None:
    """There is a cost for the measured sizes, and a larger catalogue costs more."""
    costs = Costs.from_json(COSTS.read_bytes())

    assert [*costs.exact_microseconds] == [*costs.release_bytes] == [*map(str, SIZES.values())]
    assert [*costs.approximate_microseconds] == [str(SIZES[name]) for name in APPROXIMATE]
    for by_size in (costs.exact_microseconds, costs.approximate_microseconds, costs.release_bytes):
        assert [*by_size.values()] == sorted(by_size.values())


def test_a_load_is_reckoned_in_words() -> None:
    """Every line names its unit."""
    result = sized(*load("50000/s", "200M", "300k"))

    assert result.exit_code == 0, result.output
    for text in (
        "workers",
        "partitions",
        "GiB",
        "MiB/s",
        "s until others serve its users",
        "times the clicks",
    ):
        assert text in result.output
    assert "Set state.max_users to at least" in result.output


@pytest.mark.parametrize("rate", ["1000/s", "60k/min", "3.6M/h", "86.4M/d", "1k", "1000 / s"])
def test_a_rate_may_have_any_unit(rate: str) -> None:
    """All of these are a thousand clicks per second."""
    found = orjson.loads(sized(*load(rate), "--json").output)

    assert found == orjson.loads(sized(*load(), "--json").output)
    assert found["workers"] == 2


def test_the_limit_of_users_is_spoken_of_only_if_it_is_too_low() -> None:
    """With 0 there is no limit."""
    many = load(users="20M")

    assert "Set state.max_users" in sized(*many).output
    assert "Set state.max_users" not in sized(*many, "--set", "state.max_users=0").output
    assert "Set state.max_users" not in sized(*load()).output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (load(clicks="1000/y"), "'1000/y' must be a number per time such as 50000/s"),
        (load(users="-5"), "'-5' must be a number such as 50000, 300k, 200M or 1B"),
        (load(items="0"), "'0' must be a number"),
        ([*load(), "--memory", "4GB"], "'4GB' must be a size such as 512Mi or 4Gi"),
        (load()[:4], "Missing option '--items'"),
    ],
)
def test_a_wrong_amount_is_named(arguments: list[str], said: str) -> None:
    """The value, and what it should look like."""
    result = sized(*arguments)

    assert result.exit_code == 2
    assert said in result.output


def test_too_little_memory_is_an_error() -> None:
    """It says how much is needed."""
    result = sized(*load(items="1M"), "--memory", "256Mi")

    assert isinstance(result.exception, SettingError)
    assert "--memory 256.0 MiB is too small: a worker needs" in str(result.exception)
