"""History as canonical events: a topic up to given offsets, or a file, with an account of each record.

Everything is read as the job reads it: the same customers, limits and refusals (`flink_jobs.worker`, the operator's `ReadRecord`).
A topic comes as it is stored, each partition in its order, with the watermark that a job would have had; a file in the order of
event time. Bad records are counted, and end nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import xxhash

from cli.errors import UserError
from cli.kafka import PATIENCE_SECONDS, rewind, talk
from cli.lines import outcomes, read_lines, read_map
from flink_jobs.settings import Job, Settings
from profiles.event import Event, InvalidRecord, decode_event, parse_time
from profiles.fieldmap import Mapped, Rejected

DAY: Final = 86_400_000
MOST_HELD: Final = 2_000_000_000
"""Bytes of a file's events that are held while they are put in order; beyond, a sample is to be asked for."""

_EACH_HELD: Final = 250
_LONGEST_CUSTOMER: Final = 512
_LONGEST_KEY: Final = 8 * _LONGEST_CUSTOMER
_PEEKED: Final = 200
"""Records at the end of each partition among which the newest event is looked for."""

NO_CUSTOMER: Final = "no customer id in the record key or the declared field"
NO_VALUE: Final = "the record has no value"
TOO_LONG: Final = "longer than allowed"


class Arrived(NamedTuple):
    """One record that names a customer, not decoded yet. `received_at` is its time; `watermark` a moment up to which all has arrived."""

    customer: str
    value: bytes
    received_at: int
    partition: int
    offset: int
    watermark: int


@dataclass(frozen=True)
class Share:
    """Which customers are wanted: a sample of them, the same ones each time, and of that one of equal `parts`."""

    sample: float = 1.0
    part: int = 0
    parts: int = 1

    def takes(self, customer: str) -> bool:
        """Whether the customer is wanted."""
        if self.sample >= 1 and self.parts == 1:
            return True
        place = xxhash.xxh3_64_intdigest(b"sample\0" + customer.encode("utf-8", "surrogatepass"))
        return bool(place < self.sample * 2**64 and place % self.parts == self.part)


@dataclass
class Account:
    """What became of the records so far. `read` = `events` + `refused` + `older` + `others`, once all are read.

    `read` counts the lines of a file that were rejected, and its events; `refused` are counts by reason, `older` lie before the time
    asked for, `others` belong to customers who are not wanted. Times are event times in epoch milliseconds; `end` is the newest of all.
    `begun_before`: the source holds more before the time asked for, so that all of that time is covered.
    """

    read: int = 0
    events: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    older: int = 0
    others: int = 0
    first_time: int | None = None
    last_time: int | None = None
    end: int = 0
    begun_before: bool = False

    def note(self, event: Event) -> None:
        """Count an event that is handed on."""
        self.events += 1
        at = event.event_time
        if at > event.received_at + Job.skew:
            return  # it is quarantined, and its time says nothing
        if self.first_time is None or at < self.first_time:
            self.first_time = at
        if self.last_time is None or at > self.last_time:
            self.last_time = at

    def add(self, other: Account) -> None:
        """Take in what another reader of the same source found, who kept another part of the customers."""
        self.events += other.events
        self.refused += other.refused
        self.older += other.older
        self.read = max(self.read, other.read)
        self.others = self.read - self.events - self.refused.total() - self.older
        times = [one for one in (self.first_time, other.first_time) if one is not None]
        self.first_time = min(times, default=None)
        times = [one for one in (self.last_time, other.last_time) if one is not None]
        self.last_time = max(times, default=None)
        self.end = max(self.end, other.end)
        self.begun_before = self.begun_before or other.begun_before


@dataclass(frozen=True)
class Source:
    """Where history is read: a file (through a field map, if one is given), else the topic, up to `ends` (offset by partition)."""

    settings: Settings
    topic: str = ""
    ends: Mapping[int, int] | None = None
    file: Path | None = None
    field_map: Path | None = None

    @property
    def name(self) -> str:
        """What people know it by."""
        return f"topic {self.topic}" if self.file is None else self.file.name

    def arrivals(self, account: Account, share: Share, days: float | None, now: int) -> Iterator[Arrived]:
        """The records of the customers wanted, of so many days before the newest event; `now` is the wall clock's time."""
        if self.file is None:
            return read_topic(self.settings, self.topic, account, ends=self.ends, share=share, days=days)
        return read_file(self.file, self.field_map, account, share=share, days=days, now=now)

    def events(
        self, account: Account, share: Share | None = None, days: float | None = None, now: int | None = None
    ) -> Iterator[tuple[Event, int]]:
        """The events of the customers wanted, each with its watermark; what is no event is counted in the account."""
        moment = int(time.time() * 1000) if now is None else now
        return decode(self.arrivals(account, share or Share(), days, moment), account)


def decode(arrivals: Iterable[Arrived], account: Account) -> Iterator[tuple[Event, int]]:
    """The canonical events with their watermarks; a record that is none is counted by its reason."""
    for one in arrivals:
        try:
            event = decode_event(one.value, one.customer, one.received_at, one.partition, one.offset)
        except InvalidRecord as error:
            account.refused[str(error)] += 1
            continue
        account.note(event)
        yield event, one.watermark


# --- customers ------------------------------------------------------------------------------------------------------


def customer_of(key: bytes | None) -> str:
    """The customer that a record's key names, as the job reads it; "" for nobody.

    >>> customer_of(b" anna "), customer_of(b"a" * 513), customer_of(b"a\\0"), customer_of(None)
    ('anna', '', '', '')
    """
    if not key or len(key) > _LONGEST_KEY:
        return ""
    try:
        return _named(key.decode())
    except UnicodeDecodeError:
        return ""


def _named(text: str) -> str:
    trimmed = text.strip()
    if not 0 < len(trimmed) <= _LONGEST_CUSTOMER:
        return ""
    if trimmed.isprintable():
        return trimmed
    forbidden = any(one < " " or "\x7f" <= one <= "\x9f" or "\ud800" <= one <= "\udfff" for one in trimmed)
    return "" if forbidden else trimmed


_fields: Final = msgspec.json.Decoder(float_hook=str).decode


def customer_reader(customer_field: str) -> Callable[[bytes | None, bytes], str]:
    """A function from a record's key and value to the customer; `customer_field` is a path in the value, "" for the key."""
    if not customer_field:
        return lambda key, value: customer_of(key)
    path = customer_field.split(".")

    def read(key: bytes | None, value: bytes) -> str:
        try:
            found: Any = _fields(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""
        for part in path:
            found = found.get(part) if isinstance(found, dict) else None
        return _named(str(found)) if isinstance(found, str | int) and not isinstance(found, bool) else ""

    return read


# --- files ----------------------------------------------------------------------------------------------------------


def read_file(
    path: Path, field_map: Path | None, account: Account, *, share: Share, days: float | None, now: int
) -> Iterator[Arrived]:
    """The records that a file's lines make, in the order of event time (equal times as they stand in the file).

    The time of a record is that of its event, as `segue replay` stamps it; an event from after `now` is left to be quarantined.
    """
    mapping = read_map(field_map) if field_map else None
    held: list[tuple[int, int, str, bytes]] = []
    size = newest = 0
    for outcome in outcomes(read_lines(path), path.name, mapping):
        if isinstance(outcome, Mapped):
            account.read += 1
            if newest < outcome.event_time <= now + Job.skew:
                newest = outcome.event_time
            customer = customer_of(outcome.key)
            if not share.takes(customer):
                account.others += 1
            elif not customer:
                account.refused[NO_CUSTOMER] += 1
            else:
                held.append((outcome.event_time, outcome.line, customer, outcome.value))
                size += len(outcome.value) + _EACH_HELD
                if size > MOST_HELD:
                    raise UserError(f"{path} holds more events than fit into memory", "look at some: --sample 10%")
        elif isinstance(outcome, Rejected):
            account.read += outcome.lines
            if share.part:
                account.others += outcome.lines  # who reads the first part counts them
            else:
                account.refused[outcome.reason] += outcome.lines
    held.sort(key=lambda one: one[:2])
    account.end = newest
    cutoff = newest - days * DAY if days is not None else 0
    account.begun_before = bool(held) and 0 < held[0][0] <= cutoff
    for at, line, customer, value in held:
        if 0 < at <= cutoff:
            account.older += 1
        else:
            yield Arrived(customer, value, at if at <= now + Job.skew else now, 0, line, min(at, newest) - 1)


# --- topics ---------------------------------------------------------------------------------------------------------


class _Times(msgspec.Struct, gc=False):
    timestamp: str | int | float | None = None
    originalTimestamp: str | int | float | None = None  # noqa: N815  (the wire's own names)
    time: str | int | float | None = None


_times: Final = msgspec.json.Decoder(_Times).decode


def skim_time(value: bytes, latest: int) -> int:
    """The event time in a value, for the watermark alone; 0 where there is none, or one that must not move it."""
    try:
        found = _times(value)
        raw = next((one for one in (found.timestamp, found.originalTimestamp, found.time) if one is not None), None)
        at = parse_time(raw) if raw is not None else 0
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, OverflowError):
        return 0
    return at if at <= latest else 0


class Watermark:
    """The oldest of the newest event times of the partitions that are still read, less the disorder; it never goes back."""

    def __init__(self, partitions: Iterable[int], disorder: int) -> None:
        self.value = 0
        self._newest = {one: 0 for one in partitions}
        self._disorder = disorder
        self._slowest = min(self._newest, default=-1)

    def note(self, partition: int, at: int) -> None:
        """An event of this time has come in this partition."""
        if at > self._newest[partition]:
            self._newest[partition] = at
            if partition == self._slowest:
                self._move()

    def end(self, partition: int) -> None:
        """Nothing more comes in this partition: it holds nobody up."""
        if len(self._newest) > 1:
            del self._newest[partition]
            self._move()

    def _move(self) -> None:
        self._slowest = min(self._newest, key=lambda one: self._newest[one])
        self.value = max(self.value, self._newest[self._slowest] - self._disorder - 1)


def read_topic(
    settings: Settings,
    topic: str,
    account: Account,
    *,
    ends: Mapping[int, int] | None = None,
    share: Share | None = None,
    days: float | None = None,
    connect: Callable[[], Any] | None = None,
) -> Iterator[Arrived]:
    """The records of a topic up to `ends` (each partition's first offset that is not wanted; without, all there is now).

    `days` leaves out what happened longer before the newest event. `connect` makes the consumer. Raises `UserError` where Kafka
    does not answer, or there is no such topic.
    """
    from kafka.errors import KafkaError

    from flink_jobs.topics import partitions_of

    consumer = connect() if connect is not None else talk(settings, _connect)
    try:
        partitions = partitions_of(consumer, topic)
        if not partitions:
            raise UserError(f"Kafka has no topic {topic!r}", "name a topic, or a file that exists")
        consumer.assign(partitions)
        found = consumer.end_offsets(partitions)
        until = {one: min(found[one], ends.get(one.partition, 0)) if ends else found[one] for one in partitions}
        cutoff = 0
        if days is not None:
            cutoff = int(_newest(consumer, until, settings) - days * DAY)
        rewind(consumer, partitions, cutoff - settings.job.skew)
        begins = consumer.beginning_offsets(partitions)
        account.begun_before = any(consumer.position(one) > begins[one] for one in partitions)
        yield from _arrivals(settings, _records(consumer, until), account, share or Share(), cutoff, until)
    except (KafkaError, OSError) as error:
        where = settings.kafka.bootstrap_servers
        raise UserError(f"no Kafka answers at {where} ({type(error).__name__})", "is it up? `segue status`") from None
    finally:
        consumer.close()


def end_offsets(settings: Settings, topic: str) -> dict[int, int]:
    """Where each partition of the topic ends now; none if there is no such topic. `UserError` where Kafka does not answer."""
    return talk(settings, lambda options: _ends(_connect(options), topic))


def _ends(consumer: Any, topic: str) -> dict[int, int]:
    from flink_jobs.topics import partitions_of

    try:
        partitions = partitions_of(consumer, topic)
        return {one.partition: end for one, end in consumer.end_offsets(partitions).items()} if partitions else {}
    finally:
        consumer.close()


def _connect(options: dict[str, Any]) -> Any:
    from flink_jobs import topics

    return topics.reading_consumer(options, max_poll_records=2000)


def _newest(consumer: Any, until: Mapping[Any, int], settings: Settings) -> int:
    """The newest event time among the last records of each partition; 0 if there is none."""
    for partition, first in consumer.beginning_offsets(list(until)).items():
        consumer.seek(partition, max(first, until[partition] - _PEEKED))
    found = (
        skim_time(one.value, one.timestamp + settings.job.skew)
        for _, one in _records(consumer, until)
        if one and one.value
    )
    return max(found, default=0)


def _records(consumer: Any, until: Mapping[Any, int]) -> Iterator[tuple[int, Any]]:
    """Each record before `until` with its partition, and (partition, None) once where a partition is at its end."""
    left = dict(until)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left:
        for partition in [one for one, end in left.items() if consumer.position(one) >= end]:
            del left[partition]
            yield partition.partition, None
        if not left:
            return
        found = consumer.poll(timeout_ms=500)
        for partition, records in found.items():
            if partition in left:
                end = left[partition]
                for one in records:
                    if one.offset < end:
                        yield partition.partition, one
        if found:
            deadline = time.monotonic() + PATIENCE_SECONDS
        elif time.monotonic() > deadline:
            names = ", ".join(str(one.partition) for one in left)
            raise UserError(f"nothing came from partition {names} for {PATIENCE_SECONDS:.0f} s", "is Kafka well?")


def _arrivals(
    settings: Settings,
    records: Iterable[tuple[int, Any]],
    account: Account,
    share: Share,
    cutoff: int,
    partitions: Mapping[Any, int],
) -> Iterator[Arrived]:
    """What the records are to the job: whose they are, with which watermark; what is no event at all is counted."""
    job = settings.job
    watermark = Watermark((one.partition for one in partitions), job.disorder)
    customer_in = customer_reader(job.customer_field)
    for partition, record in records:
        if record is None:
            watermark.end(partition)
            continue
        account.read += 1
        value, received_at = record.value, record.timestamp
        reason = NO_VALUE if value is None else TOO_LONG if len(value) > job.max_record_bytes else ""
        at = skim_time(value, received_at + job.skew) if not reason else 0
        account.end = max(account.end, at)
        customer = customer_in(record.key, value) if not reason else customer_of(record.key)
        if not share.takes(customer):
            account.others += 1
        elif reason or not customer:
            account.refused[reason or NO_CUSTOMER] += 1
        elif 0 < at <= cutoff:
            account.older += 1
            account.begun_before = True
        else:
            yield Arrived(customer, value, received_at, partition, record.offset, watermark.value)
        watermark.note(partition, at)
