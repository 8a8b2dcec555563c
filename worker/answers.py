"""The answers to questions over HTTP, from the states of this worker.

A question about a user is answered by the worker that serves the user's partition. The partition of a user
cannot be computed in general. So a worker without a state of the user says which partitions it serves; the
HTTP server then asks the other workers (`worker.http.passing`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from worker.core import asking, explaining
from worker.core.asking import NO_ROW, Listed, Query
from worker.core.description import described
from worker.core.ids import canonical
from worker.core.recommender import Recommender
from worker.http.questions import AboutUser, Answer, ForUser, Question, Similar
from worker.partitions.table import PartitionTable
from worker.requests import Requests


class _Found(NamedTuple):
    """A question for a list that can be answered now."""

    question: ForUser
    row: int


class Answers:
    """Answers questions; call it between batches, on the loop's thread."""

    def __init__(
        self,
        table: PartitionTable,
        requests: Requests,
        *,
        partitions: Callable[[], int],
    ) -> None:
        self._table = table
        self._requests = requests
        self._states = requests.states
        self._adoption = requests.adoption
        self._partitions = partitions
        """Returns the number of partitions of the clicks topic."""

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """Return the answers to some questions; a list that must wait for a click has the status 409."""
        answers, found = dict[int, Answer](), defaultdict[Recommender, dict[int, _Found]](dict)
        for number, question in enumerate(questions):
            if isinstance(question, AboutUser):
                answers[number] = self._known_of(canonical(question.user_id))
            elif isinstance(question, Similar):
                answers[number] = self._similar(question)
            elif isinstance(one := self._found(question), _Found):
                found[self._adoption.serving.recommender(one.question.user_id)][number] = one
            else:
                answers[number] = one
        for recommender, those in found.items():
            answers |= zip(those, self._lists(recommender, [*those.values()]), strict=True)
        return [answers[number] for number in range(len(questions))]

    def _found(self, question: ForUser) -> _Found | Answer:
        """Return a question that gets a list, or the answer that says why it gets none."""
        user_id, served = canonical(question.user_id), self._table.served()
        row, after = self._row(user_id), question.after
        at = served.get(after[0]) if after else None
        partitions = self._partitions()
        everywhere = question.unknown or len(served) == partitions
        if refusal := self._refusal(question.query):
            return refusal
        if after and after[0] >= partitions and not at:
            what = f"after names partition {after[0]}; the clicks have {partitions} partitions, from 0 on"
            return 400, {"error": what}
        if at and after and at.position <= after[1]:
            error = "the state does not include the click yet; ask again"
            return 409, {"error": error, "position": at.position}
        if at or (after is None and (row != NO_ROW or everywhere)):
            return _Found(question._replace(user_id=user_id), row)
        return 404, self._no_state() | {"partitions": partitions}

    def _similar(self, question: Similar) -> Answer:
        if refusal := self._refusal(question.query):
            return refusal
        item_id, query = canonical(question.item_id), question.query
        recommender = self._adoption.serving.champion
        listed = self._requests.similar(item_id, query)
        if listed is None:
            number = recommender.release.number
            return 404, {"error": f"release {number} does not know this item"}
        return 200, {"item_id": item_id, **self._document(recommender, listed, query)}

    def _known_of(self, user_id: str) -> Answer:
        """Return this worker's state of a user or, if it has none, the partitions that it serves."""
        sent = {number: one.uncommitted for number, one in sorted(self._table.served().items())}
        recommender, now_ms = self._adoption.serving.recommender(user_id), self._requests.clock.now_ms()
        known = described(self._states, recommender, user_id, sent, now_ms=now_ms)
        return (404, self._no_state()) if known is None else (200, known)

    def _no_state(self) -> dict[str, Any]:
        error = (
            "this worker has no state of this user: the user never clicked, is in another partition, or was "
            "evicted or deleted; `nextclick-worker user` shows more"
        )
        serves = sorted(self._table.served())
        return {"error": error, "serves": serves, "not_ready": self._table.describe()}

    def _row(self, user_id: str) -> int:
        """Return the row of a user with the latest event, among the served partitions, or `NO_ROW`."""
        found = [self._states.find(number, user_id) for number in self._table.served()]
        rows = np.array([row for row in found if row is not None], np.int64)
        if not len(rows):
            return NO_ROW
        return int(rows[np.argmax(self._states.active_ms(rows))])

    def _refusal(self, query: Query) -> Answer | None:
        if query.filters and self._requests.known is None:
            return 400, {"error": "only and without need the tags of items: set topics.items"}
        return None

    def _lists(self, recommender: Recommender, found: list[_Found]) -> list[Answer]:
        rows, now_ms = np.array([one.row for one in found], np.int64), self._requests.clock.now_ms()
        allowed, queries = self._requests.allowed(recommender), [one.question.query for one in found]
        lists = asking.answer(recommender, rows, queries, allowed, now_ms=now_ms)
        replies = list[Answer]()
        for (question, row), query, listed in zip(found, queries, lists, strict=True):
            document = {"user_id": question.user_id, **self._document(recommender, listed, query)}
            document["seen"] = None if row == NO_ROW else self._seen(row)
            if question.explain:
                document["explained"] = explaining.explained(
                    recommender, row, query, listed, allowed, now_ms=now_ms
                )
            replies.append((200, document))
        return replies

    def _seen(self, row: int) -> dict[str, int]:
        at = np.array([row])
        offset = int(self._states.read_column("offset", at)[0])
        return {"partition": int(self._states.partitions(at)[0]), "offset": offset}

    def _document(self, recommender: Recommender, listed: Listed, query: Query) -> dict[str, Any]:
        document = {
            "items": listed.items,
            "scores": listed.scores,
            "reason": listed.reason,
            "release": listed.release,
        }
        if query.placement:
            document["placement"] = query.placement
        if not listed.items:
            tagged = not query.filters or len(self._requests.allowed(recommender)(query))
            document["empty_because"] = (
                "all items that the request allows are unavailable or left out"
                if tagged
                else f"no item of release {listed.release} has the tags that the request allows"
            )
        return document
