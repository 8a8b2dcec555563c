"""What `reset --at` means for a partition, and that a refusal can be mended by it."""

from __future__ import annotations

import pytest

from worker.commands.reset import At, plan
from worker.errors import StateRefused
from worker.topics.state_changes import Beginning
from worker.topics.state_scan import Contents, Entry, Marks
from worker.topics.states import Forget, Replay


def held(replay: int | None = None) -> Contents:
    """A partition with a damaged block, a wish, a wish that cannot be read, and where it was saved."""
    contents = Contents()
    values = {
        b"block/1": b"damaged",
        b"block/2": None,
        b"forget/ada": Forget(5, 1).value(),
        b"forget/bob": b"damaged",
        b"replay": None if replay is None else Replay(replay, 1).value(),
    }
    for offset, (key, value) in enumerate(values.items()):
        contents.take(Entry(3, offset, key, value))
    return contents


@pytest.mark.parametrize(
    ("at", "replay", "marks", "offset"),
    [
        ("committed", 4, Marks(0, 9, 6), 6),
        ("committed", 4, Marks(7, 9, 6), 7),
        ("committed", 4, Marks(2, 9, None), 2),
        ("earliest", 4, Marks(2, 9, 6), 2),
        ("latest", 4, Marks(2, 9, 6), 9),
        ("saved", 4, Marks(2, 9, None), 4),
        ("saved", 4, Marks(7, 9, 6), 7),
    ],
)
def test_where_it_goes_on(at: At, replay: int, marks: Marks, offset: int) -> None:
    """Never before the first click that is still there; wishes stay, what cannot be read goes."""
    beginning, text = plan(3, at, held(replay), marks)

    dropped = [] if at == "saved" else [b"block/1", b"forget/bob"]
    assert beginning == Beginning(3, offset, dropped or (), replay=at != "saved")
    assert f"partition 3: {'keeps' if at == 'saved' else 'drops'}" in text
    assert f"goes on at offset {offset}" in text
    assert ("wish to forget bob cannot be read and goes too: write it again" in text) == (at != "saved")


@pytest.mark.parametrize(
    ("at", "replay", "marks"), [("committed", 4, Marks(0, 5, 6)), ("saved", 4, Marks(0, 3, 1))]
)
def test_beyond_the_end_of_the_clicks_is_no_beginning(at: At, replay: int, marks: Marks) -> None:
    """It says what would help."""
    with pytest.raises(StateRefused, match="--at earliest begins at the first click"):
        plan(3, at, held(replay), marks)


def test_where_nothing_is_saved_there_is_nothing_to_keep() -> None:
    """The partition stays as it is."""
    assert plan(3, "saved", held(), Marks(0, 9, 6)) == (
        None,
        "partition 3: nothing is saved, it stays as it is",
    )
