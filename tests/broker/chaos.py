"""Chaos: rounds of crashes, freezes and outages under load. `make chaos ROUNDS=100 SEED=n`.

After each round a committed reader must find every click answered once and in order, no list with an item
that its user had bought, or that had been unavailable for over a second, and in the state topic the states of
a process to which nothing happened. Ends with 1 when it is not so.
"""

from __future__ import annotations

import random
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import click
import numpy as np

from deploy.java import Unavailable
from deploy.kafka.cluster import NODES, LocalCluster
from deploy.kafka.local import LocalKafka
from tests.broker.brokers import PROPERTIES
from tests.broker.freeze import run_freeze, table
from tests.broker.fuzz import run_fuzz
from tests.broker.outage import run_outage
from tests.broker.process import ROOT
from tests.broker.rounds import BROKER_PROPERTIES, Plan, play, run_round, shop_plan
from tests.verdict import Verdict

LOGS: Final = ROOT / "build" / "chaos"
"""Where the logs of a round that went wrong stay."""

SHOWN: Final = 10
"""How many problems of a round are printed; all are in its folder."""


def round_seed(seed: int, number: int) -> int:
    """The seed of round `number` of a run."""
    return random.Random(f"{seed}/{number}").getrandbits(32)


def run_rounds(
    node: LocalKafka | LocalCluster, seed: int, numbers: Iterable[int], logs: Path = LOGS
) -> Verdict:
    """Play these rounds of `seed`, tell of each, and say what was found in all of them together."""
    total = Verdict()
    for number in numbers:
        its_seed = round_seed(seed, number)
        folder = fresh(logs / f"{seed}-{number}")
        say(f"round {number}: {Plan.of(its_seed, cluster=isinstance(node, LocalCluster))}")
        began = time.monotonic()
        try:
            found = run_round(node, its_seed, folder)
        except AssertionError as error:
            found = Verdict(states_equal=False, problems=[str(error)])
        total.add(found)
        outcome = "as it must be" if found.good else "WRONG"
        say(f"round {number}: {outcome}, {found.clicks} clicks, {time.monotonic() - began:.1f} s")
        if found.good:
            shutil.rmtree(folder)
        else:
            tell(found.problems, folder)
            brokers = f" --brokers {NODES}" if isinstance(node, LocalCluster) else ""
            say(f"  the round alone: python -m tests.broker.chaos --seed {seed} --only {number}{brokers}")
    return total


def tell(problems: list[str], folder: Path) -> None:
    """Print the first problems, and write all beside the logs."""
    path = folder / "problems.txt"
    path.write_text("\n".join(problems) + "\n")
    for problem in problems[:SHOWN]:
        say(f"  {problem}")
    say(f"  {len(problems)} problems, all in {path}, beside the workers' logs and settings")


def say(line: str) -> None:
    """Progress goes to standard error; the result alone to standard output."""
    click.echo(line, err=True)


def summary(found: Verdict) -> str:
    """The figures of a result, as the last line has them."""
    return (
        f"clicks={found.clicks} lost={found.lost} duplicates={found.duplicates} "
        f"out_of_order={found.out_of_order} states={'equal' if found.states_equal else 'different'} "
        f"purchases={found.purchases} bought_shown={found.bought_shown} removals={found.removals} "
        f"removed_shown={found.removed_shown} removed_in_outage={found.removed_in_outage} "
        f"{_shown(found.seconds_shown)}"
    )


def _shown(seconds: list[float]) -> str:
    """For how long lists still had items that became unavailable."""
    p50, p99, longest = np.percentile(seconds or [0.0], [50, 99, 100])
    return f"item_to_list_seconds={p50:.3f}/{p99:.3f}/{longest:.3f}"


@click.command()
@click.option("--rounds", default=10, show_default=True, help="How many rounds.")
@click.option("--seed", type=int, help="What decides all that can be decided. Default: drawn, and printed.")
@click.option("--only", type=int, help="The one round of the seed to play.")
@click.option(
    "--brokers",
    type=click.Choice(["1", str(NODES)]),
    default="1",
    show_default=True,
    help=f"How many brokers there are. {NODES}: a cluster, whose brokers fail one at a time.",
)
@click.option(
    "--shop", type=float, help="Instead of rounds: change 100,000 items at random for so many seconds."
)
@click.option("--outage", type=float, help="Instead of rounds: kill the broker for so many seconds.")
@click.option("--freeze", type=float, help="Instead of rounds: freeze the broker for so many seconds.")
@click.option("--fuzz", type=int, help="Instead of rounds: send that many batches with random damage.")
def main(
    *,
    rounds: int,
    seed: int | None,
    only: int | None,
    brokers: str,
    shop: float | None,
    outage: float | None,
    freeze: float | None,
    fuzz: int | None,
) -> None:
    """Play rounds of chaos on a Kafka of their own."""
    if brokers != "1" and any(one is not None for one in (shop, outage, freeze, fuzz)):
        raise click.UsageError(
            "--shop, --outage, --freeze and --fuzz need a single broker; leave --brokers out"
        )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    seed = random.randrange(10**6) if seed is None else seed
    numbers = range(1, rounds + 1) if only is None else [only]
    try:
        if brokers != "1":
            with LocalCluster(properties=PROPERTIES) as cluster:
                sys.exit(not play_rounds(cluster, seed, numbers))
        with LocalKafka(properties=BROKER_PROPERTIES) as node:
            if shop is not None:
                sys.exit(not play_shop(node, seed, shop))
            if outage is not None:
                sys.exit(not play_outage(node, outage))
            if freeze is not None:
                sys.exit(not play_freeze(node, freeze))
            if fuzz is not None:
                sys.exit(not play_fuzz(node, seed, fuzz))
            sys.exit(not play_rounds(node, seed, numbers))
    except Unavailable as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def play_rounds(node: LocalKafka | LocalCluster, seed: int, numbers: Sequence[int]) -> bool:
    """Play these rounds and print the result; whether it is as wanted."""
    found = run_rounds(node, seed, numbers)
    brokers = f"brokers={NODES} " if isinstance(node, LocalCluster) else ""
    click.echo(f"chaos: {brokers}rounds={len(numbers)} seed={seed} {summary(found)}")
    return found.good


def play_shop(node: LocalKafka, seed: int, seconds: float) -> bool:
    """Change many items under load, kills and refreshes; print the result; whether it is as wanted."""
    folder, plan = fresh(LOGS / "shop"), shop_plan(seed, seconds)
    say(str(plan))
    found = play(node, plan, folder, seed=seed)
    if not found.good:
        tell(found.problems, folder)
    click.echo(f"shop: seconds={seconds:g} seed={seed} items={plan.items} {summary(found)}")
    return found.good


def play_outage(node: LocalKafka, seconds: float) -> bool:
    """Play an outage and print the result; whether it is as wanted."""
    folder = fresh(LOGS / "outage")
    found = run_outage(node, folder, seconds=seconds)
    if not found.verdict.good:
        tell(found.verdict.problems, folder)
    click.echo(
        f"outage: seconds={seconds:g} noticed_seconds={found.noticed_seconds:.1f} "
        f"ready_seconds={found.ready_seconds:.1f} {summary(found.verdict)}"
    )
    return found.good


def play_freeze(node: LocalKafka, seconds: float) -> bool:
    """Freeze the broker and print what a worker said meanwhile; whether every click is answered once."""
    folder = fresh(LOGS / "freeze")
    found = run_freeze(node, folder, seconds=seconds)
    if not found.verdict.good:
        tell(found.verdict.problems, folder)
    click.echo(table(found.moments))
    click.echo(f"freeze: seconds={seconds:g} {summary(found.verdict)}")
    return found.verdict.good


def play_fuzz(node: LocalKafka, seed: int, number: int) -> bool:
    """Send damaged batches and print what became of them; whether all is accounted for."""
    folder = fresh(LOGS / "fuzz")
    found = run_fuzz(node, seed, number, folder)
    say(found.table())
    if found.problems:
        tell(found.problems, folder)
    click.echo(f"fuzz: seed={seed} lost={len(found.problems)} {found.summary()}")
    return not found.problems


def fresh(folder: Path) -> Path:
    """An empty folder at this place."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def interrupted(number: int, _: FrameType | None) -> None:
    """End as on Ctrl-C, so that all that was started is stopped; a second signal does not disturb that."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
