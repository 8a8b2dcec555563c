"""The assembly of a worker from its settings and a Kafka connection."""

from __future__ import annotations

from dataclasses import dataclass

from worker.answering import Answering
from worker.answers import Answers
from worker.checkpoint import Checkpoint
from worker.clock import Clock
from worker.config import Settings
from worker.core.quality import Quality
from worker.core.recommender import Recommender
from worker.core.release import Release
from worker.core.states import States
from worker.http.questions import Questions
from worker.http.readiness import Readiness
from worker.identity import Identity
from worker.items.assembly import followed
from worker.items.letters import ItemLetters
from worker.items.rules import RuleUpdates
from worker.items.updates import ItemUpdates
from worker.kafka.interface import Connection, GroupMember
from worker.live_quality import LiveQuality
from worker.loop import Loop
from worker.metrics import Metrics
from worker.observer import Observer
from worker.pace import Pace
from worker.partitions.created_again import CreatedAgain
from worker.partitions.deletion import Deletion
from worker.partitions.flushing import Flushing
from worker.partitions.follower import StateFollower
from worker.partitions.recovery import Recovery
from worker.partitions.table import PartitionTable
from worker.process.outcomes import Outcomes
from worker.process.retry import Retry
from worker.process.stop import Stop
from worker.releases.adoption import Adoption
from worker.releases.follower import ReleaseFollower
from worker.requests import Requests
from worker.schemas.interface import Registry
from worker.schemas.output import framed_lists
from worker.topics import needs
from worker.topics.dead_letters import DeadLetterWriter
from worker.topics.needs import Need
from worker.topics.quality import QualityWriter
from worker.topics.recommendations import ENCODERS, ENCODERS_OF_ONE, RecommendationWriter, encoder
from worker.topics.releases import ReleaseReader
from worker.topics.states import StateWriter, TopicIds
from worker.topics.watch import TopicWatch
from worker.walk import Walk


@dataclass(frozen=True, slots=True)
class Process:
    """The objects that a worker shares with its process."""

    metrics: Metrics
    readiness: Readiness
    questions: Questions
    stop: Stop
    clock: Clock


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that is ready to run, with the parts that tests inspect."""

    loop: Loop
    states: States
    table: PartitionTable
    checkpoint: Checkpoint
    adoption: Adoption
    member: GroupMember
    process: Process


def wired(
    settings: Settings,
    connection: Connection,
    process: Process,
    *,
    background: bool = True,
    states: States | None = None,
    registry: Registry | None = None,
) -> Worker:
    """Assemble and return a worker.

    The optional arguments are for tests. Without `background`, topics are followed on the loop's thread.
    `states` replaces the default object, for example with one that reserves less memory. `registry` replaces
    the configured schema registry.
    """
    # The first release sets the size of hidden states.
    states = States(state_size=0) if states is None else states
    registry = registry or settings.registry.connection()
    return _Wiring(settings, connection, process, states, registry, background=background).worker()


def topics_needed(settings: Settings) -> list[Need]:
    """Return the topics that a worker with these settings needs, and their requirements."""
    return needs.needs(**dict(settings.topics))


class _Wiring:
    """Builds the parts of a worker in the order of their dependencies."""

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        process: Process,
        states: States,
        registry: Registry | None,
        *,
        background: bool,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._connection = connection
        self._process = process
        self._background = background
        self._metrics, self._clock = process.metrics, process.clock
        self._states = states
        settings.events.prepare(states)
        self._quality = Quality(self._states, top=settings.recommend.top)
        self._transactions = connection.transactions(
            settings.transactional_id, timeout_ms=settings.kafka.transaction_timeout_ms
        )
        self._framed_lists = framed_lists(
            registry, topic=settings.topics.recommendations, format=settings.recommend.format
        )
        self._topics = TopicWatch(
            connection,
            topics_needed(settings),
            readiness=process.readiness,
            steady=self._clock.steady,
            spared=[settings.topics.releases, settings.topics.items, settings.topics.rules],
            background=background,
        )
        self._dead_letters = DeadLetterWriter(
            self._transactions,
            topic=settings.topics.dead_letters,
            partitions=lambda: self._topics.partitions(settings.topics.dead_letters),
        )
        self._letters = ItemLetters(self._dead_letters, steady=self._clock.steady)
        self._adoption = self._new_adoption()
        self._followed = self._new_followed()
        self._member = self._new_member()
        self._requests = Requests(
            states,
            self._adoption,
            next((one for one in self._followed if isinstance(one, ItemUpdates)), None),
            recommend=settings.recommend,
            clock=self._clock,
        )

    def worker(self) -> Worker:
        """Return the assembled worker."""
        process, metrics, clock = self._process, self._metrics, self._clock
        retry = Retry(
            process.stop,
            steady=clock.steady,
            waiting=process.readiness.waiting,
            count=metrics.observe_failure,
            rival=lambda: self._identity().rival(self._member.ids),
        )
        follower = self._new_follower()
        table = PartitionTable(self._states, self._quality, follower, steady=clock.steady)
        writer = StateWriter(
            self._transactions, topic=self._settings.topics.state, sent=metrics.state_bytes.inc
        )
        deletion = Deletion(self._states, writer, follower, metrics=metrics, steady=clock.steady)
        flushing = self._new_flushing(writer, deletion)
        recovery = Recovery(
            table,
            self._states,
            follower,
            self._member,
            deletion=deletion,
            flushing=flushing,
            knows=self._adoption.knows,
            ids=self._ids,
            metrics=metrics,
            steady=clock.steady,
        )
        checkpoint = Checkpoint(
            table,
            self._transactions,
            self._member,
            self._adoption,
            flushing=flushing,
            deletion=deletion,
            live_quality=self._new_live_quality(),
            letters=self._letters,
            retry=retry,
            interval_seconds=self._settings.commit_interval,
            metrics=metrics,
            clock=clock,
        )
        topics = self._settings.topics
        described = {getattr(topics, one.what): one.read_again for one in self._followed}
        created_again = CreatedAgain(
            table,
            follower,
            flushing,
            clicks=topics.clicks,
            read_again={topics.releases: self._adoption.read_again, **described},
        )
        loop = self._new_loop(table, recovery, flushing, checkpoint, retry, created_again=created_again)
        return Worker(loop, self._states, table, checkpoint, self._adoption, self._member, process)

    def _new_loop(
        self,
        table: PartitionTable,
        recovery: Recovery,
        flushing: Flushing,
        checkpoint: Checkpoint,
        retry: Retry,
        *,
        created_again: CreatedAgain,
    ) -> Loop:
        def partitions() -> int:
            return self._topics.partitions(self._settings.topics.clicks)

        observer = Observer(
            table,
            self._states,
            self._member,
            self._adoption,
            checkpoint,
            partitions=partitions,
            metrics=self._metrics,
            readiness=self._process.readiness,
            clock=self._clock,
        )
        answers = Answers(table, self._requests, partitions=partitions)
        answering = Answering(self._process.questions, answers.answers)
        self._process.questions.wake = self._member.wake
        self._transactions.meanwhile = answering.answer_until
        return Loop(
            member=self._member,
            transactions=self._transactions,
            adoption=self._adoption,
            followed=self._followed,
            table=table,
            recovery=recovery,
            walk=self._new_walk(table, checkpoint, flushing),
            answering=answering,
            checkpoint=checkpoint,
            observer=observer,
            pace=Pace(table, recovery, self._adoption, checkpoint, steady=self._clock.steady),
            retry=retry,
            topics=self._topics,
            created_again=created_again,
            look_up_schema=self._framed_lists.look_up if self._framed_lists else lambda: None,
            claim_identity=lambda: self._identity().claim(),
            metrics=self._metrics,
            readiness=self._process.readiness,
            stop=self._process.stop,
        )

    def _ids(self) -> TopicIds:
        topics = self._settings.topics
        return TopicIds(self._topics.id(topics.clicks), self._topics.id(topics.releases))

    def _identity(self) -> Identity:
        settings, process = self._settings, self._process
        return Identity(
            self._connection,
            group=settings.group,
            topic=settings.topics.clicks,
            client_id=settings.transactional_id,
            static=settings.static_membership,
            session_seconds=settings.kafka.session_timeout_ms / 1_000,
            readiness=process.readiness,
            stop=process.stop,
            steady=self._clock.steady,
        )

    def _new_adoption(self) -> Adoption:
        reader = ReleaseReader(self._connection, topic=self._settings.topics.releases)
        return Adoption(
            ReleaseFollower(reader, background=self._background),
            self._states,
            self._new_recommender,
            metrics=self._metrics,
            readiness=self._process.readiness,
            steady=self._clock.steady,
        )

    def _new_followed(self) -> list[ItemUpdates | RuleUpdates]:
        return followed(
            self._settings,
            self._connection,
            self._registry,
            lambda: self._adoption.serving.recommenders,
            letters=self._letters,
            metrics=self._metrics,
            readiness=self._process.readiness,
            clock=self._clock,
            background=self._background,
        )

    def _new_recommender(self, release: Release) -> Recommender:
        recommend = self._settings.recommend
        recommender = Recommender(
            release,
            self._states,
            publish=recommend.publish,
            publish_max_age_ms=round(recommend.publish_max_age * 1000),
            user_ttl_ms=round(self._settings.state.user_ttl * 1000),
            exclude_recent=recommend.exclude_recent,
            top=recommend.top,
            ranking=recommend.ranking,
            quality=self._quality,
        )
        for one in self._followed:
            one.introduce(recommender)
        return recommender

    def _new_member(self) -> GroupMember:
        settings, kafka = self._settings, self._settings.kafka
        return self._connection.member(
            topic=settings.topics.clicks,
            group=settings.group,
            client_id=settings.transactional_id,
            session_timeout_ms=kafka.session_timeout_ms,
            heartbeat_interval_ms=kafka.heartbeat_interval_ms,
            fetch_max_wait_ms=kafka.fetch_max_wait_ms,
            static_member=settings.worker_id if settings.static_membership else None,
            address=settings.http.advertised,
        )

    def _new_follower(self) -> StateFollower:
        topics = self._settings.topics
        return StateFollower(
            self._connection,
            topic=topics.state,
            clicks=topics.clicks,
            group=self._settings.group,
            background=self._background,
        )

    def _new_flushing(self, writer: StateWriter, deletion: Deletion) -> Flushing:
        state = self._settings.state
        return Flushing(
            self._states,
            writer,
            deletion,
            flush_interval_seconds=state.flush_interval,
            user_ttl_ms=round(state.user_ttl * 1000),
            max_users=state.max_users,
            max_bytes=state.max_bytes,
            ids=self._ids,
            metrics=self._metrics,
            steady=self._clock.steady,
            wall_ms=self._clock.now_ms,
        )

    def _new_live_quality(self) -> LiveQuality:
        settings = self._settings
        writer = QualityWriter(
            self._transactions,
            topic=settings.topics.quality,
            group=settings.group,
            worker_id=settings.worker_id,
        )
        return LiveQuality(self._quality, writer, metrics=self._metrics, clock=self._clock)

    def _new_walk(self, table: PartitionTable, checkpoint: Checkpoint, flushing: Flushing) -> Walk:
        topics, recommend = self._settings.topics, self._settings.recommend
        parser = self._settings.registry.parser(self._registry, self._clock.steady)
        decoder = self._settings.events.decoder(self._settings.click, parser)
        return Walk(
            decoder,
            self._adoption,
            table,
            checkpoint,
            flushing,
            requests=self._requests,
            recommendations=RecommendationWriter(
                self._transactions,
                topic=topics.recommendations,
                clicks_topic=topics.clicks,
                encode=encoder(self._framed_lists) if self._framed_lists else ENCODERS[recommend.format],
                encode_one=self._framed_lists or ENCODERS_OF_ONE[recommend.format],
            ),
            dead_letters=self._dead_letters,
            outcomes=Outcomes(
                decoder,
                max_age_seconds=recommend.publish_max_age,
                readiness=self._process.readiness,
                steady=self._clock.steady,
            ),
            metrics=self._metrics,
            clock=self._clock,
        )
