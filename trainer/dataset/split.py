"""The test split: which clicks of a table are held out, by time, by place in the session, or by file.

>>> times = [0, 1_000, 2_000]
>>> clicks = pl.DataFrame({"user_id": ["a"] * 3, "item_id": ["x", "y", "z"], "timestamp_ms": times})
>>> before, after = TestSplit(leave_last=1).of(clicks.with_columns(session=0), endless=False)
>>> before["item_id"].to_list(), after.filter("scored")["item_id"].to_list()
(['x', 'y'], ['z'])
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from trainer.dataset.sessions import TEST, Divided, divide, divide_where
from trainer.errors import TooFewClicks


class TestSplit(NamedTuple):
    """The choice of the test split. In a table with the column `TEST`, that column chooses the clicks.

    `from_ms`: the time at which the test split starts; None: all clicks are held out. `leave_last`: the
    number of clicks at the end of each session that are held out instead; 0: none. `min_context`: the minimum
    number of clicks in the session before a click that is to be predicted.
    """

    from_ms: int | None = None
    leave_last: int = 0
    min_context: int = 1

    def of(self, sessions: pl.DataFrame, *, endless: bool) -> Divided:
        """Split `sessions`, a table of `sessions.cut`; `endless`: its session gap is 0.

        Earlier clicks of the same session are also in `after`, as context that is not scored. Raises
        TooFewClicks if `leave_last` leaves nothing before it.
        """
        if TEST in sessions.columns:
            divided = divide_where(sessions, pl.col(TEST), endless=endless)
        elif self.leave_last:
            divided = self._last(sessions)
        elif self.from_ms is None:
            divided = Divided(sessions.clear(), sessions.with_columns(scored=pl.lit(True)))
        else:
            divided = divide(sessions, self.from_ms, endless=endless)
        return divided

    def seen(self, sessions: pl.DataFrame) -> pl.DataFrame:
        """Return the clicks before the test split; all clicks if it is the last clicks of each session."""
        if TEST in sessions.columns:
            return sessions.filter(~pl.col(TEST))
        if self.leave_last or self.from_ms is None:
            return sessions
        return sessions.filter(pl.col("timestamp_ms") < self.from_ms)

    def _last(self, sessions: pl.DataFrame) -> Divided:
        """Hold out the last clicks of each session; its first click is never held out."""
        place, length = pl.int_range(pl.len()).over("session"), pl.len().cast(pl.Int64).over("session")
        longest = sessions.group_by("session").len()["len"].max()
        if not isinstance(longest, int) or longest <= self.leave_last:
            raise TooFewClicks(
                f"leave_last is {self.leave_last}, but the longest session has {longest!r} clicks; lower it, "
                "so that clicks are left before the held-out ones"
            )
        late = (place >= length - self.leave_last) & (place > 0)
        return divide_where(sessions, late, endless=True)

    def predictions(self, after: pl.DataFrame) -> pl.DataFrame:
        """Return `after`, where a click is scored only if it has at least `min_context` clicks before it.

        Raises TooFewClicks if no scored click is left.
        """
        if self.min_context <= 1 or after.is_empty():
            return after
        place = pl.int_range(pl.len()).over("session")
        scored = after.with_columns(pl.col("scored") & (place >= self.min_context))
        if not scored["scored"].any():
            longest = after.group_by("session").len()["len"].max()
            raise TooFewClicks(
                f"min_context is {self.min_context}, but no click of the test split has as many clicks "
                f"before it in its session (the longest session has {longest!r}); lower it"
            )
        return scored


def share_predicted(predictions: int, test_clicks: int, min_context: int = 1) -> str:
    """Return a sentence on how many of the `test_clicks` are predictions.

    >>> share_predicted(40, 250)
    '16% of the test clicks could be predicted (40 of 250): the first click of a session cannot'
    """
    without = "the first click" if min_context <= 1 else f"the first {min_context} clicks"
    share = predictions / max(1, test_clicks)
    return (
        f"{share:.0%} of the test clicks could be predicted ({predictions:,} of {test_clicks:,}): "
        f"{without} of a session cannot"
    )
