"""What a live catalogue, rules, purchases and lists on request cost. `make bench-rules`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from tests.benchmarks import asking, purchases, rules
from tests.benchmarks.frame import Bench, Figures, command
from tests.benchmarks.items import ITEMS
from tests.benchmarks.report import line
from tests.benchmarks.stand import Stand
from tests.benchmarks.warm import warm_stand
from tests.broker.process import ROOT

BUYERS: Final = 0.1
"""The share of users who have bought something."""


@dataclass(frozen=True)
class Plan:
    """How much of everything is done."""

    rounds: int
    users: int
    seconds: float
    tries: int
    shop_seconds: float


FULL: Final = Plan(rounds=15, users=500_000, seconds=60, tries=10_000, shop_seconds=600)
QUICK: Final = Plan(rounds=1, users=20_000, seconds=2, tries=20, shop_seconds=5)


def cost(_: Stand, plan: Plan) -> Figures:
    """Return by how much ten rules, and purchases, increase the CPU time of a click."""
    known = rules.described(ITEMS)
    ruled = rules.rules_over_none(rules.ALL, known, ranking="auto", rounds=plan.rounds)
    bought = purchases.cost(purchases.EXCLUDING, items=ITEMS, rounds=plan.rounds)
    return {
        "rules_over_none": ruled,
        "purchases_over_none": bought,
        "rules_cost_share": ruled * bought - 1,
    }


def memory(_: Stand, plan: Plan) -> Figures:
    """Return the memory of a million users, with purchases and without."""
    return {
        "gib_per_million_users_with_purchases": purchases.gib_per_million_users(BUYERS, plan.users),
        "gib_per_million_users_without_purchases": purchases.gib_per_million_users(None, plan.users),
    }


def http(stand: Stand, plan: Plan) -> Figures:
    """Return the latency of lists on request, and how many lacked a click that the asker had made."""
    return asking.measured(stand, workers=1, seconds=plan.seconds, tries=plan.tries)


def removal(_: Stand, plan: Plan) -> Figures:
    """Return how long lists have items that are gone, under random changes, kills and refreshes."""
    arguments = ["-m", "tests.broker.chaos", "--seed", "3", "--shop", str(plan.shop_seconds)]
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=False)
    summary = done.stdout.decode().splitlines()[-1]
    found = dict(one.split("=", 1) for one in summary.split() if "=" in one)
    return {
        "item_to_list_p99_seconds": float(found["item_to_list_seconds"].split("/")[1]),
        "shown_after_removal": float(found["removed_shown"]),
    }


def table(figures: Mapping[str, float]) -> Iterator[str]:
    """Yield the lines of the table."""
    for name, value in figures.items():
        yield line(name, f"{value:,.4g}")


BENCH: Final = Bench[Stand, Plan](
    name="bench-rules",
    measures={"cost": cost, "memory": memory, "http": http, "removal": removal},
    full=FULL,
    quick=QUICK,
    stand=lambda _: warm_stand(asking.ITEMS),
    table=table,
)
main = command(BENCH)


if __name__ == "__main__":
    main()
