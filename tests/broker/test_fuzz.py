"""Whatever a producer has written, or a disk has changed, stops no partition and loses no record."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from deploy.kafka.local import LocalKafka
from tests.broker.damage import KINDS
from tests.broker.fuzz import run_fuzz

BATCHES: Final = 600


@pytest.mark.timeout(300)
def test_every_record_is_answered_or_in_a_dead_letter(
    kafka_node: Callable[..., LocalKafka], tmp_path: Path
) -> None:
    """Each once; what was sound is answered, so is a click behind all; `fit` and `collect` count the same."""
    seed = random.randrange(10**6)
    print(f'seed {seed}: make chaos SEED={seed} ARGS="--fuzz {BATCHES}" plays the same')

    found = run_fuzz(kafka_node(), seed, BATCHES, tmp_path)

    print(found.table(), found.summary(), sep="\n")
    assert not found.problems, "\n".join(found.problems[:20])
    assert found.records == found.answered + found.in_letters
    assert found.letters["unreadable"] > 0
    assert set(found.batches) > set(KINDS)
