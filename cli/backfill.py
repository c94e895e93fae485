"""Counting the past of segments that are warming, and handing each customer over to the running job.

In this order: every subtask of the job says that it keeps what comes for the warming segments; then the cut is made, the end of
each partition at that moment; the whole rule set runs over all that lies before the cut; the job has gone past the cut itself; each
customer's profile is handed over; the job has taken all of them in; the version is published live; the job has gone through all
its customers. So each event is counted once, by this side of the cut or by the other, and stopping anywhere leaves a job
that goes on as before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.status import Status

from cli.control import end, handover, send
from cli.errors import UserError
from cli.history import Account, Source, end_offsets
from cli.job_status import JobStatus, StatusReader
from cli.kafka import ensure_topic, talk
from cli.published import highest_version, publish_live, superseded
from flink_jobs.settings import Settings
from profiles.event import Event
from rules.history import FAILED, History
from rules.plan import Limits
from rules.rule_set import RuleSet
from rules.ruled import Ruled, live

DAY_MS: Final = 86_400_000
FIRST_WORD_SECONDS: Final = 60.0
"""How long the job may say nothing at all of a version before it is taken to be down."""

STANDSTILL_SECONDS: Final = 120.0
"""How long the job may commit nothing, unless its checkpoints are further apart."""

HANDED_OVER_A_SECOND: Final = 2_000
"""Customers that each subtask is given in a second: more at once, and events would wait behind them."""

WARMING, TAKEN_IN, LIVE, RECONCILED = "warming", "taken in", "live", "reconciled"
_UNKNOWN_PARTITION: Final = -1
_LOOK_EVERY: Final = 0.2
_NEWER_EVERY: Final = 5.0
_LINE_EVERY: Final = 10.0
_SLICES_A_SECOND: Final = 20


class Report:
    """Says what is under way: one line that changes on a terminal, one every ten seconds elsewhere; nothing if `quiet`."""

    def __init__(self, *, quiet: bool = False, console: Console | None = None) -> None:
        self.interrupted = False
        self._quiet = quiet
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._status: Status | None = None
        self._last = time.monotonic()

    def now(self, text: str) -> None:
        """What is done at the moment; may be called as often as one likes."""
        moment = time.monotonic()
        if self._quiet or moment - self._last < (_LOOK_EVERY if self._console.is_terminal else _LINE_EVERY):
            return
        self._last = moment
        if not self._console.is_terminal:
            self._console.print(text, markup=False)
        elif self._status is None:
            self._status = self._console.status(text)
            self._status.start()
        else:
            self._status.update(text)

    def done(self, text: str) -> None:
        """What has been done, for good."""
        if not self._quiet:
            self._console.print(text, markup=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        if self._status is not None:
            self._status.stop()


def ruled(rules: RuleSet, settings: Settings) -> Ruled:
    """The rules as the job runs them once they are live."""
    job = settings.job
    return live(rules, Limits(remembered_messages=job.remembered_messages, skew=job.skew, expiry=job.expiry))


class Shadows:
    """Profiles as they would be if the rules had been there from the start, up to the cut.

    `ends` says for each partition of the events topic how far it was read: the first offset after the newest event taken.
    """

    def __init__(self, rules: Ruled) -> None:
        self.history = History(rules, keep_transitions=False)
        self.ends: dict[int, int] = {}
        self._partitions: dict[str, int] = {}

    def take(self, event: Event, watermark: int, *, in_topic: bool) -> None:
        """Count an event; one that is not `in_topic` comes from a file."""
        self.history.take(event, watermark)
        if in_topic:
            self.ends[event.partition] = event.offset + 1
            self._partitions[event.customer] = event.partition

    def handovers(self, version: int, cuts: Mapping[int, int]) -> Iterator[bytes]:
        """A record for each customer: their profile, and up to which offset of their partition it has counted everything.

        Whom the topic did not name before the cut has partition -1: all that the job has kept of them comes after it.
        """
        for customer, shadow in self.history.encoded.items():
            partition = self._partitions.get(customer, _UNKNOWN_PARTITION)
            yield handover(version, customer, partition, cuts.get(partition, 0) - 1, shadow)


@dataclass(frozen=True)
class Counted:
    """What a backfill has done. `seconds` is the time that counting took, without the waiting."""

    events: int
    customers: int
    seconds: float
    refused: int

    def __str__(self) -> str:
        bad = f", {self.refused:,} records were no events" if self.refused else ""
        speed = self.events / max(self.seconds, 0.001)
        return f"{self.events:,} events of {self.customers:,} customers counted in {self.seconds:.1f} s ({speed:,.0f}/s){bad}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "events": self.events,
            "customers": self.customers,
            "seconds": round(self.seconds, 3),
            "refused": self.refused,
        }


def how_far_back(rules: RuleSet) -> float | None:
    """Days of history that the warming segments ask for: as many as the one that asks for most; None is all there is."""
    asked = [one.backfill for one in rules.segments if one.name in rules.warming]
    limited = [one for one in asked if one is not None]
    return max(limited, default=0) / DAY_MS if len(limited) == len(asked) else None


def paced(
    records: Iterable[bytes],
    a_second: int,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bytes]:
    """The records, no more than so many a second, in slices of a twentieth of that; time that was lost is not made up for."""
    size, due = max(1, a_second // _SLICES_A_SECOND), clock()
    for number, record in enumerate(records):
        if number and not number % size:
            due = max(due + size / a_second, clock())
            if (early := due - clock()) > 0:
                sleep(early)
        yield record


class Backfill:
    """The way of one warming version to being live. `history` and `field_map` name a file to take the past from."""

    def __init__(
        self,
        settings: Settings,
        rules: RuleSet,
        report: Report,
        *,
        history: Path | None = None,
        field_map: Path | None = None,
    ) -> None:
        self.settings = settings
        self.rules = rules
        self.report = report
        self.file = history
        self.field_map = field_map
        self._newer_at = time.monotonic() + _NEWER_EVERY

    def run(self) -> Counted | None:
        """All of it, or what an earlier run has left; None if counting and handing over was done already.

        Raises `UserError` where the job refuses the version, is not there, or somebody publishes another version meanwhile.
        """
        settings = self.settings
        ensure_topic(settings, settings.topics.control)
        reader = StatusReader(settings, JobStatus(self.rules.version))
        try:
            self.wait_for(reader, WARMING, "waiting until the job keeps what comes for the warming segments")
            counted = None if reader.status.all_say(TAKEN_IN) else self.count_and_hand_over(reader)
            self.wait_for(reader, TAKEN_IN, "waiting until the job has taken in what was counted")
            publish_live(settings, self.rules)
            self.wait_for(reader, RECONCILED, "the job goes through all its customers")
        finally:
            reader.close()
        return counted

    def count_and_hand_over(self, reader: StatusReader) -> Counted:
        """Make the cut, count what lies before it, and hand it over once the job is past the cut."""
        cuts = talk(self.settings, lambda _: end_offsets(self.settings, self.settings.topics.events))
        shadows, counted = self.count(cuts)
        self.report.done(f"the past: {counted}")
        self.wait_past(shadows.ends)
        self.hand_over(shadows, cuts, reader.status.parallelism)
        return counted

    def count(self, cuts: Mapping[int, int]) -> tuple[Shadows, Counted]:
        """Run the whole rule set over all that lies before the cut."""
        account, begun = Account(), time.monotonic()
        shadows = Shadows(ruled(self.rules, self.settings))
        for taken, (event, watermark, in_topic) in enumerate(self.events(account, cuts), 1):
            shadows.take(event, watermark, in_topic=in_topic)
            if not taken % 1000:
                speed = taken / (time.monotonic() - begun)
                self.report.now(f"counting the past: {taken:,} events ({speed:,.0f}/s)")
        refused = account.refused.total() + shadows.history.outcomes[FAILED]
        seconds = time.monotonic() - begun
        return shadows, Counted(account.events, len(shadows.history.encoded), seconds, refused)

    def events(self, account: Account, cuts: Mapping[int, int]) -> Iterator[tuple[Event, int, bool]]:
        """The events before the cut with their watermarks, and whether they stand in the topic: of a file first, then what is newer."""
        days, newest = how_far_back(self.rules), 0
        if self.file is not None:
            for event, watermark in Source(self.settings, file=self.file, field_map=self.field_map).events(
                account, days=days
            ):
                newest = max(newest, event.event_time)
                yield event, watermark, False
            account = Account()
        if not any(cuts.values()):
            return
        topic = Source(self.settings, self.settings.topics.events, cuts)
        for event, watermark in topic.events(account, days=days if self.file is None else None):
            if event.event_time > newest:
                yield event, watermark, True

    def wait_past(self, ends: Mapping[int, int]) -> None:
        """Wait until the job itself has gone past the cut, and will not fall back behind it: what it has committed says so."""
        patience = max(STANDSTILL_SECONDS, 3 * self.settings.checkpoints.interval / 1000)
        with _commits(self.settings) as committed:
            least, since = sum(ends.values()) + 1, time.monotonic()
            while left := sum(max(0, end - committed(partition)) for partition, end in ends.items()):
                self.look(f"the job has {left:,} records to go to where the past was counted to")
                if left < least:
                    least, since = left, time.monotonic()
                elif time.monotonic() - since > patience:
                    raise UserError(
                        f"the job has committed nothing for {patience:.0f} s as group {self.settings.job.name!r}",
                        "is `job.name` in the settings that of the running job, and does it take checkpoints? The version"
                        " stays warming; `segue rules apply --resume` goes on",
                    )

    def hand_over(self, shadows: Shadows, cuts: Mapping[int, int], subtasks: int) -> None:
        """Send each customer's profile, no faster than the job takes them in beside its events, and that these were all."""
        version, customers = self.rules.version, len(shadows.history.encoded)
        pace = HANDED_OVER_A_SECOND * max(1, subtasks)

        def records() -> Iterator[bytes]:
            for sent, record in enumerate(paced(shadows.handovers(version, cuts), pace), 1):
                if not sent % 1000:
                    self.report.now(f"handing over: {sent:,} of {customers:,} customers")
                yield record
            yield end(version, customers)

        send(self.settings, records())

    def wait_for(self, reader: StatusReader, stage: str, what: str) -> None:
        """Wait until every subtask has come to a stage."""
        begun = time.monotonic()
        while not (status := reader.poll()).all_say(stage):
            if status.refused:
                raise UserError(f"the job refuses version {self.rules.version}: {status.refused}", "apply other rules")
            if not status.words and time.monotonic() - begun > FIRST_WORD_SECONDS:
                raise UserError(
                    f"the job says nothing of version {self.rules.version}, which stays warming",
                    "is it up (`segue status`)? Once it is, `segue rules apply --resume`; --no-backfill does without the past",
                )
            left = f" ({status.missing(stage)} of {status.parallelism} tasks to go)" if status.parallelism > 1 else ""
            self.look(what + left)

    def look(self, what: str) -> None:
        """Say what is waited for, and notice if somebody has published another version meanwhile."""
        self.report.now(what)
        if time.monotonic() > self._newer_at:
            highest = highest_version(self.settings)
            if highest != self.rules.version:
                raise superseded(self.rules.version, highest)
            self._newer_at = time.monotonic() + _NEWER_EVERY
        time.sleep(_LOOK_EVERY)


@contextmanager
def _commits(settings: Settings) -> Iterator[Callable[[int], int]]:
    """A function from a partition of the events topic to how far the job's group has committed it; 0 where it has not."""
    from kafka import TopicPartition

    from flink_jobs.topics import reading_consumer

    consumer = talk(settings, lambda options: reading_consumer(options, group_id=settings.job.name))

    def committed(partition: int) -> int:
        found = talk(settings, lambda _: consumer.committed(TopicPartition(settings.topics.events, partition)))
        return int(found or 0)

    try:
        yield committed
    finally:
        consumer.close()
