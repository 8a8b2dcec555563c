"""The handlers of requests for lists: a user's recommendations, similar items, and their description."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import orjson

from worker.http import parameters
from worker.http.handlers import Access, GuardedHandler, Handler
from worker.http.openapi import document
from worker.http.parameters import Parameters
from worker.http.passing import PASSED, Passing, Reply
from worker.http.questions import Answer, ForUser, Questions
from worker.http.questions import Similar as SimilarTo
from worker.http.readiness import Readiness
from worker.http.requests import OPENAPI, RECOMMENDATIONS, SIMILAR

SWITCH_SECONDS: Final = 0.001
"""The time after which a thread that computes lets another one run, once a list was asked for.

An answer passes through three threads: server, loop, server. Each of them may have to wait this long for the
interpreter. With Python's default of 5 ms, 500 requests and 1,000 clicks a second had a median of 10 to 31 ms
on two busy cores; with 1 ms, 5 to 9. With two such threads, a third took 0 to 2 % more CPU.
"""


class ListHandler(GuardedHandler):
    """Answers requests for lists."""

    names: tuple[str, ...]
    """The parameters that exist."""

    def initialize(
        self,
        readiness: Readiness,
        questions: Questions,
        access: Access,
        top: int = 20,
        passing: Passing | None = None,
    ) -> None:
        """Set the mailbox, the access control, the default number of items, and how to ask other workers."""
        super().initialize(readiness, questions, access)
        self._top = top
        self.passing = passing

    async def answer(self, *arguments: str) -> Answer:
        """Answer with a list, or with the reason why there is none."""
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            found = parameters.parse(self.request.query_arguments, names=self.names, top=self._top)
        except ValueError as error:
            return 400, {"error": str(error)}
        return await self.listed(arguments[0], found)

    async def listed(self, name: str, found: Parameters) -> Answer:
        """Return the answer to a request with valid parameters."""
        raise NotImplementedError


class RecommendationsHandler(ListHandler):
    """The handler of /v1/recommendations."""

    label = RECOMMENDATIONS
    names = parameters.LIST

    async def listed(self, name: str, found: Parameters) -> Answer:
        """Return the list for a user, from this worker or from the one that serves the user."""
        question = ForUser(name, found.query, found.after, found.explain)
        status, answer = await self.ask(question)
        if status != 404 or PASSED in self.request.headers:
            return status, answer
        return await self._elsewhere(question, answer)

    async def _elsewhere(self, question: ForUser, here: dict[str, Any]) -> Answer:
        """Return the answer of another worker; if none has a state of the user, a list of popular items."""
        after, serves, replies = question.after, {*here["serves"]}, list[Reply]()
        if self.passing is not None:
            if after is None and self.passing.nobody(question.user_id):
                return await self.ask(question._replace(unknown=True))
            # A header that was not checked may be meant for somebody else.
            token = None if self.access.open else self.request.headers.get("Authorization")
            replies = await self.passing.ask(
                question.user_id,
                self.request.uri or "",
                {"Authorization": token} if token else {},
                partition=after[0] if after else None,
            )
        for reply in replies:
            if reply.status in (200, 409):
                return reply.status, reply.document
            serves.update(reply.document.get("serves", ()))
        missing = sorted({*range(here["partitions"])} - serves)
        if not missing and after is None:
            if self.passing is not None:
                self.passing.remember_nobody(question.user_id)
            return await self.ask(question._replace(unknown=True))
        where = f"partition {after[0]}" if after else f"partitions {', '.join(map(str, missing))}"
        why = here["not_ready"] or _why(replies)
        return 503, {"error": f"no worker that can be asked serves {where} now: {why}"}


def _why(replies: Sequence[Reply]) -> str:
    for reply in replies:
        if reply.status in (401, 403):
            return f"a worker refused the request with {reply.status}; set the same http.token in all workers"
    return "it moves or recovers, or the workers do not set http.advertised"


class SimilarHandler(ListHandler):
    """The handler of /v1/similar."""

    label = SIMILAR
    names = parameters.SIMILAR

    async def listed(self, name: str, found: Parameters) -> Answer:
        """Return the items that are similar to an item."""
        return await self.ask(SimilarTo(name, found.query))


class OpenApiHandler(Handler):
    """The handler of /v1/openapi.json."""

    label = OPENAPI

    async def get(self, *arguments: str) -> None:
        """Answer with the description of /v1, for generators of clients."""
        self.set_header("Content-Type", "application/json")
        self.finish(orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
