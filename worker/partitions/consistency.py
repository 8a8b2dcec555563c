"""The check that the clicks, the group's offsets and the saved states of a partition are consistent."""

from __future__ import annotations

from typing import Final

from worker.errors import StateRefused
from worker.partitions.follower import AllRead
from worker.partitions.partition import Partition
from worker.topics.states import FORGET, REPLAY

RESETS: Final = (
    "stop all workers of the group, then run `nextclick-worker reset --at saved` to keep the states and "
    "continue at the first click of the new topic, or `nextclick-worker reset --at earliest` to start there "
    "with empty states"
)
NO_STATES: Final = (
    "so was the state topic, which held the states; stop all workers of the group, then run "
    "`nextclick-worker reset --at earliest` to start at the first click of the new topic with empty states. "
    "If this is not the right cluster, fix kafka.bootstrap_servers instead"
)


def clicks_created_again(topic: str, *, states_too: bool = False) -> StateRefused:
    """Return the error for states that were saved before the clicks topic was deleted and created again.

    `states_too`: whether the state topic was created again, too, so that the saved states are lost.
    """
    advice = NO_STATES if states_too else RESETS
    return StateRefused(
        f"topic {topic} was deleted and created again since its states were saved: the saved offsets now "
        f"refer to other clicks; {advice}"
    )


def check(partition: Partition, read: AllRead, *, topic: str, clicks: str, clicks_id: str) -> None:
    """Raise StateRefused, with the remedy, if `partition` is inconsistent or has an unreadable state record.

    `topic` is the state topic. `clicks_id` is the current id of the topic `clicks`; empty if unknown.
    """
    where = f"partition {partition.number} of topic {topic}"
    reset = f"`nextclick-worker reset --partition {partition.number}"
    _check_readable(partition, where, reset)
    saved, committed = partition.saved, read.committed
    if saved is not None and not saved.is_of(clicks_id):
        raise clicks_created_again(clicks)
    if saved is None and len(partition.ledger):
        raise StateRefused(
            f"{where} has blocks, but no {REPLAY} record; {reset} --at committed` continues with empty states"
        )
    wrong = max(committed or 0, 0 if saved is None else saved.offset)
    if wrong > read.end:
        raise StateRefused(
            f"offset {wrong} is committed or saved in {where}, but the clicks there end at {read.end}: "
            f"did a broker lose records, or was their topic recreated? {reset} --at earliest` starts with "
            "empty states at the first click"
        )
    if saved is not None and committed is None:
        raise StateRefused(
            f"{where} has states up to offset {saved.offset} of the clicks, but the group has no committed "
            "offset there (Kafka deletes the offsets of a group that was inactive for a long time). "
            f"{reset} --at saved` continues from the states and answers later clicks again. If the clicks "
            "topic was deleted and created again instead, use --at earliest: it starts with empty states "
            "at the first click"
        )
    if saved is None and committed is not None:
        raise StateRefused(
            f"the group has committed offset {committed}, but {where} is empty; {reset} --at committed` "
            "continues there with empty states, --at earliest reads all clicks again"
        )
    if saved is not None and committed is not None and saved.offset > committed:
        raise StateRefused(
            f"{where} has states up to offset {saved.offset}, but the group has committed {committed}: were "
            f"its offsets moved back? {reset} --at committed` continues there with empty states"
        )


def _check_readable(partition: Partition, where: str, reset: str) -> None:
    for key, why in partition.progress.refused.items():
        if key.startswith(FORGET):
            raise StateRefused(f"{where}: {why}. Nothing was changed")
        raise StateRefused(
            f"{key} in {where} cannot be read: {why}. Nothing was changed. If a newer worker wrote it, run "
            f"the newer version; if it is damaged, {reset} --at committed` continues there with empty states"
        )
