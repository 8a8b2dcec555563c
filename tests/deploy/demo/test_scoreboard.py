from __future__ import annotations

from deploy.demo.scoreboard import Answer, Latency, Moment, Score, Scoreboard


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


POPULAR = [str(number) for number in range(30)]


def scoreboard(clock: Clock | None = None) -> Scoreboard:
    """One that knows no history; release 1 is compared with the items 0 to 29, best first."""
    board = Scoreboard([], clock or Clock())
    board.learned(1, POPULAR)
    return board


def test_a_click_is_judged_against_the_list_shown_before_it() -> None:
    """Not against the one that answers it, and a user's first click against none."""
    board = scoreboard()
    board.clicked("u", "a")
    board.recommended(Answer("u", "a", ("b", "c"), 1))
    board.clicked("u", "c")
    board.recommended(Answer("u", "c", ("d",), 1))
    board.clicked("u", "c")

    assert board.figures().scores[1] == Score(judged=2, hits=1)


def test_popular_lists_are_judged_on_the_same_clicks_by_the_same_rule() -> None:
    """Twenty items without the one just clicked; the harder list also without all clicked before."""
    board = scoreboard()
    for before in ("1", "2", "0"):
        board.clicked("u", before)
    board.recommended(Answer("u", "0", ("x",), 1))
    board.clicked("u", "20")

    assert board.figures().scores[1] == Score(judged=1, hits=0, popular_hits=1, unseen_popular_hits=1)

    board.clicked("u", "21")

    assert board.figures().scores[1] == Score(judged=2, hits=0, popular_hits=1, unseen_popular_hits=2)


def test_every_release_has_its_own_score() -> None:
    """A click counts for the release that made the list, and against what was popular for that one."""
    board = scoreboard()
    board.learned(2, ["new"])
    board.clicked("u", "a")
    board.recommended(Answer("u", "a", ("b",), 1))
    board.clicked("u", "b")
    board.recommended(Answer("u", "b", ("c",), 2))
    board.clicked("u", "new")

    assert board.newest_release == 2
    assert board.figures().scores == {
        1: Score(judged=1, hits=1),
        2: Score(judged=1, popular_hits=1, unseen_popular_hits=1),
    }


def test_latency_is_from_the_click_to_its_first_answer() -> None:
    """An answer that comes again, as after a crash, is no second one."""
    clock = Clock()
    board = scoreboard(clock)
    board.clicked("u", "a")
    clock.now = 0.25
    board.recommended(Answer("u", "a", ("b",), 1))
    clock.now = 9.0
    board.recommended(Answer("u", "a", ("b",), 1))

    assert board.served == Latency(1, 0.25, 0.25, 0.25)
    assert board.unanswered == 0


def test_speed_and_latency_look_back_ten_seconds() -> None:
    """And never further than the begin."""
    clock = Clock()
    board = scoreboard(clock)
    board.begin()
    for number in range(40):
        clock.now = number / 2
        board.clicked("u", str(number))

    assert board.figures().clicks_per_second == 2.1
    assert board.figures().clicks == 40


def test_a_moment_tells_where_the_click_stood_in_the_list_before() -> None:
    """One moment a user, the newest first."""
    board = scoreboard()
    for user, item, items in (
        ("u", "a", ("b", "c")),
        ("v", "a", ("b", "c")),
        ("u", "c", ("d", "e", "f", "g")),
    ):
        board.clicked(user, item)
        board.recommended(Answer(user, item, items, 1))

    assert board.figures().moments == [
        Moment("u", "c", 2, ("d", "e", "f")),
        Moment("v", "a", 0, ("b", "c")),
    ]


def test_popular_counts_the_history_and_every_click_since() -> None:
    """What one would recommend without a network, as good as it gets."""
    board = Scoreboard([("u", "a"), ("v", "a"), ("v", "b")], Clock())
    for user in "uvw":
        board.clicked(user, "c")

    assert board.popular == ["c", "a", "b"]
