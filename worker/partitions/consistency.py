"""Whether the clicks, the group's offsets and the saved states of a partition fit together."""

from __future__ import annotations

from typing import Final

from worker.errors import StateRefused
from worker.partitions.follower import AllRead
from worker.partitions.partition import Partition
from worker.topics.states import FORGET, REPLAY

RESETS: Final = (
    "stop all workers of the group, then `nextclick-worker reset --at saved` keeps the states and goes on at "
    "the first click of the new topic, `nextclick-worker reset --at earliest` begins there with empty states"
)


def clicks_created_again(topic: str) -> StateRefused:
    """Return the refusal to serve where the clicks are not those that the states were made of."""
    return StateRefused(
        f"topic {topic} was deleted and created again since its states were saved: their offsets mean other "
        f"clicks now; {RESETS}"
    )


def check(partition: Partition, read: AllRead, *, topic: str, clicks: str, clicks_id: str) -> None:
    """Raise StateRefused, with the command that helps, where they do not, or not all can be read.

    `topic` is that of the states, `clicks_id` the id of the topic `clicks` as it is now; empty if not known.
    """
    where = f"partition {partition.number} of topic {topic}"
    reset = f"`nextclick-worker reset --partition {partition.number}"
    _check_readable(partition, where, reset)
    saved, committed = partition.saved, read.committed
    if saved is not None and not saved.is_of(clicks_id):
        raise clicks_created_again(clicks)
    if saved is None and len(partition.ledger):
        raise StateRefused(
            f"{where} has blocks and no {REPLAY}: {reset} --at committed` goes on with empty states"
        )
    wrong = max(committed or 0, 0 if saved is None else saved.offset)
    if wrong > read.end:
        raise StateRefused(
            f"offset {wrong} is committed or saved in {where}, but the clicks there end at {read.end}: "
            f"was their topic recreated? {reset} --at earliest` starts empty at the first click"
        )
    if saved is not None and committed is None:
        raise StateRefused(
            f"{where} has states up to offset {saved.offset} of the clicks, but the group has no "
            "committed offset there (Kafka deletes those of a group that was away for long): "
            f"{reset} --at saved` goes on from the states, answering again what came since. If the clicks "
            "topic was deleted and created again instead, --at earliest starts empty at its first click"
        )
    if saved is None and committed is not None:
        raise StateRefused(
            f"the group has committed offset {committed}, but {where} is empty: {reset} --at committed` "
            "goes on from there with empty states, --at earliest reads all clicks again"
        )
    if saved is not None and committed is not None and saved.offset > committed:
        raise StateRefused(
            f"{where} has states up to offset {saved.offset}, but the group has committed {committed}: "
            f"were its offsets set back? {reset} --at committed` goes on from there with empty states"
        )


def _check_readable(partition: Partition, where: str, reset: str) -> None:
    for key, why in partition.progress.refused.items():
        if key.startswith(FORGET):
            raise StateRefused(f"{where}: {why}. Nothing was changed")
        raise StateRefused(
            f"{key} in {where} cannot be read: {why}. Nothing was changed. If a newer worker wrote it, "
            f"run that one; if it is damaged, {reset} --at committed` goes on with empty states there"
        )
