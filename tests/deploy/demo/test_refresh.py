"""What the demo does with releases beside its clicks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deploy.demo import refresh
from deploy.demo.broker import Broker
from deploy.demo.data import Click
from deploy.demo.errors import DemoError
from deploy.demo.life import Life
from deploy.demo.refresh import Refresh, Step, mixed_up
from deploy.demo.replay import ClickSender
from deploy.demo.scoreboard import Scoreboard
from deploy.demo.stage import Stage
from tests.builders import item_names, successor_release_parts, tiny_release_parts
from trainer.release.folder import write_folder
from worker.core.release import verify

ITEMS = item_names(300)
USERS = 60


def walk(stage: Stage, sender: ClickSender, steps: Iterator[Step]) -> None:
    """Take all steps while every user clicks an item and then the one that follows it."""
    for number, _ in enumerate(steps):
        user, turn = number % USERS, number // USERS
        sender.send(Click(f"user-{user}", ITEMS[(turn + user) % len(ITEMS)], round(time.time() * 1000)))
        time.sleep(0.005)


def test_the_broken_one_is_refused_and_the_bad_one_dropped(
    life: Life, embedded: Broker, tmp_path: Path
) -> None:
    """By a real worker and a real watch on the demo's broker, while clicks go on; each with its reason."""
    said, scoreboard = list[str](), Scoreboard([], time.monotonic)
    write_folder(tmp_path / "good", *successor_release_parts(ITEMS))
    with Stage(life, embedded) as stage, ClickSender(stage.client_settings, stage.clicks) as sender:
        life.run(stage.start_publishing(tmp_path / "good"), seconds=30)
        stage.start_worker()
        life.wait_for(stage.is_ready, seconds=30, what="the start of the worker")
        told = Refresh(stage, scoreboard, said.append)
        walk(stage, sender, told.broken(tmp_path / "good", release=2))
        walk(stage, sender, told.bad(tmp_path / "bad", made_of=tmp_path / "good", release=3))
        listed = life.run(stage.start_listing(), seconds=30)

    assert "@champion release 2 was refused: the blob has SHA-256" in said[0]
    assert "release 1 is @champion" in said[1]
    assert "release 3 is @candidate" in said[2]
    assert "Z release 3 is dropped: it is worse than release 1, hit rate" in said[3]
    assert [line.split()[:2] for line in listed.splitlines()[1:2]] == [["1", "@champion"]]


def test_a_release_that_mixes_up_the_items_is_whole() -> None:
    """It verifies, knows the same items, and answers each click as if another item had been clicked."""
    parts = tiny_release_parts(ITEMS, transitions=3, repeat_bias=[0.5])
    good, mixed = verify(*parts), verify(*mixed_up(*parts))
    index = np.arange(len(ITEMS), dtype=np.int32)
    fresh = np.zeros((len(ITEMS), good.state_size), np.float32)
    moved = mixed.catalogue.indexes(good.catalogue.ids(index).tolist())

    assert np.array_equal(good.step(good.inputs(index), fresh), mixed.step(mixed.inputs(index), fresh))
    assert sorted(moved.tolist()) == index.tolist()
    assert (moved == index).mean() < 0.05


def test_nothing_is_waited_for_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that comes to nothing ends the demo, with what it was."""
    monkeypatch.setattr(refresh, "PATIENCE_SECONDS", 0.05)

    with pytest.raises(DemoError, match="a miracle: no result"):
        list(refresh._until(lambda: False, "a miracle"))
