"""The loop as a whole: what a worker does, round by round."""

from __future__ import annotations

from tests.worker.desk import Desk


def test_every_click_is_answered_once() -> None:
    """One worker that nothing happens to."""
    desk = Desk()
    desk.start()
    for number in range(20):
        desk.click(f"user-{number % 5}", f"item-{number % 7}")

    desk.settle()

    desk.assert_answered_once()


def test_a_killed_worker_is_replaced_without_a_loss() -> None:
    """Another one recovers its partitions from blocks and clicks."""
    desk = Desk()
    desk.start("a")
    desk.start("b")
    for number in range(40):
        desk.click(f"user-{number % 5}", f"item-{number % 7}")
        desk.step()
    desk.kill("a")
    for number in range(40):
        desk.click(f"user-{number % 5}", f"item-{number % 7}")
        desk.step()
    desk.cluster.advance(11)

    desk.settle()

    desk.assert_answered_once()
