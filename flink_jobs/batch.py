"""One batch in the worker: each customer's arrivals through the core, and what is to be told of them.

Customers do not disturb each other: what fails for one is a dead letter, and the rest of the batch goes on.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from flink_jobs import outputs
from flink_jobs.following import Following
from flink_jobs.outputs import Destination, Output
from online_models.example import encode_example
from profiles import (
    NEVER,
    Event,
    InvalidRecord,
    Profile,
    UnknownCodec,
    decode_event,
    decode_profile,
    encode_profile,
)
from rules.compiled import moment
from rules.explain import explain
from rules.handover import is_known, span
from rules.step import Decision, Timer, forget_due

if TYPE_CHECKING:
    from flink_jobs.worker import Worker, WorkerSettings

TIMER_PARTITION = -1
HANDOVER_PARTITION, RECONCILE_PARTITION, REQUEST_PARTITION = -2, -3, -4
"""Arrivals that are no records of the events topic; see docs/architecture.md."""

_FAILED = {
    TIMER_PARTITION: "failed_timers",
    HANDOVER_PARTITION: "failed_handovers",
    RECONCILE_PARTITION: "failed_reconciliations",
    REQUEST_PARTITION: "failed_requests",
}
_MERGE = -1
"""Stands for the taking in of history among the positions of arrivals that failed."""

Arrival = tuple[bytes | None, int, int, int, int, bytes | None]
"""value, time, partition, offset, size, key"""
Group = tuple[str, bytes | None, list[Arrival]]

_handover_decoder = msgspec.msgpack.Decoder(tuple[int, int, str, int, int, bytes])
_end_decoder = msgspec.msgpack.Decoder(tuple[int, int, int])
_request_decoder = msgspec.msgpack.Decoder(tuple[int, str, str, str | None])


class Batch:
    """One batch under one rule set."""

    def __init__(self, worker: Worker, rules: Following, settings: WorkerSettings, watermark: int) -> None:
        self.worker = worker
        self.rules = rules
        self.settings = settings
        self.watermark = watermark
        self.emitted_at = moment(worker.now())
        self.outputs: list[Output] = []
        self.names: list[str] = []

    def nobody(self, group: Group) -> tuple[None, int]:
        """Records that name no customer, and word that all customers have been handed over or gone through."""
        for arrival in group[2]:
            if arrival[2] < TIMER_PARTITION:
                self.milestone(arrival)
                continue
            self.refuse(self.outputs, arrival, "intake", "no customer id in the record key or the declared field")
            self.names += ("received", "dead_lettered")
        return None, NEVER

    def milestone(self, arrival: Arrival) -> None:
        """Say that a stage is reached: what was handed over is taken in, or all customers stand under the live rules."""
        if arrival[2] == RECONCILE_PARTITION:
            self.outputs.append(self.worker.status(self.rules, "reconciled", f"{arrival[3]} customers"))
            return
        try:
            _, version, customers = _end_decoder.decode(arrival[0] or b"")
        except msgspec.DecodeError:
            self.names.append("control_dropped")
            return
        if version == self.rules.version:
            self.outputs.append(self.worker.status(self.rules, "taken in", f"{customers} customers of all"))

    def customer(self, group: Group) -> tuple[bytes | None, int]:
        """One customer's arrivals. An arrival that makes the core fail is left out, and the others are done again."""
        customer, state, arrivals = group
        failed: dict[int, str] = {}
        while True:
            attempt = _Attempt(self, customer)
            try:
                result = attempt.run(state, arrivals, failed)
            except UnknownCodec as error:
                attempt, result = self.give_up(customer, arrivals, str(error))
            except Exception as error:  # noqa: BLE001  (whatever one customer's data does to the core, the others go on)
                reason = f"{type(error).__name__} in the core at {_place(error)}"
                # Where it was left out already, what all of them left behind is to blame: the newest goes first.
                at = _MERGE if attempt.is_merging else attempt.position
                if at == _MERGE and at not in failed:
                    failed[at] = reason
                    continue
                if at in failed:
                    at = max((one for one in range(len(arrivals)) if one not in failed), default=-1)
                if at >= 0:
                    failed[at] = reason
                    continue
                attempt, result = self.give_up(customer, arrivals, reason)
            self.outputs += attempt.outputs
            self.names += attempt.names
            return result

    def give_up(self, customer: str, arrivals: list[Arrival], reason: str) -> tuple[_Attempt, tuple[bytes | None, int]]:
        """Leave a customer as they are and refuse all that came for them."""
        attempt = _Attempt(self, customer)
        for arrival in arrivals:
            attempt.refuse_failed(arrival, reason)
        return attempt, (None, NEVER)

    def source(self, arrival: Arrival) -> dict[str, Any]:
        return {
            "topic": self.settings.events_topic,
            "partition": arrival[2],
            "offset": arrival[3],
            "timestamp": moment(arrival[1]) if 0 <= arrival[1] < 253_402_300_800_000 else None,
        }

    def refuse(self, to: list[Output], arrival: Arrival, stage: str, reason: str, customer: str = "") -> None:
        value, _, _, _, size, key = arrival
        if key is None and customer:
            key = customer.encode("utf-8", "surrogatepass")
        to.append(outputs.dead_letter(key, value, size, self.source(arrival), stage, reason))


class _Attempt:
    """One go at a customer's arrivals: its outputs count only if all of it went well."""

    def __init__(self, batch: Batch, customer: str) -> None:
        self.batch = batch
        self.customer = customer
        self.outputs: list[Output] = []
        self.names: list[str] = []
        self.position = 0
        self.is_merging = False
        self.sequence = self.changed_at = 0
        self.expired = False
        self.next_timer = NEVER

    def run(self, state: bytes | None, arrivals: list[Arrival], failed: dict[int, str]) -> tuple[bytes | None, int]:
        batch = self.batch
        profile = None if state is None else _decoded(state)
        following, watermark = batch.rules, batch.watermark
        may_merge = following.changeover is not None
        self.sequence = profile.sequence if profile else 0
        for position, arrival in enumerate(arrivals):
            self.position = position
            if position in failed:
                self.refuse_failed(arrival, failed[position])
                if profile is not None and arrival[2] == TIMER_PARTITION:
                    self.next_timer = forget_due(profile, arrival[1])
                    expires = profile.latest + batch.settings.expiry
                    if arrival[1] < expires < self.next_timer:
                        self.next_timer = expires
                continue
            value, moment_, partition, offset, size, _ = arrival
            if partition == REQUEST_PARTITION:
                self.answer(profile, value or b"")
                continue
            if may_merge and following.has_to_merge(profile):
                profile = self.merge(profile, failed)
            if partition == HANDOVER_PARTITION:
                profile = self.park(profile, value or b"")
            elif partition < 0:
                if partition == RECONCILE_PARTITION and profile is not None:
                    self.names.append("reconciled")
                profile = self.apply(profile, Timer(moment_ if partition == TIMER_PARTITION else watermark))
            else:
                self.names.append("received")
                if value is None or size > len(value):
                    self.refuse_raw(arrival)
                    continue
                try:
                    event = decode_event(value, self.customer, moment_, partition, offset)
                except InvalidRecord as error:
                    self.names.append("dead_lettered")
                    batch.refuse(self.outputs, arrival, "intake", str(error), self.customer)
                    continue
                profile = self.apply(profile, event, arrival)
        return self.concluded(state, profile)

    def apply(
        self, profile: Profile | None, happening: Event | Timer, arrival: Arrival | None = None
    ) -> Profile | None:
        """One event (with the arrival that brought it) or moment through the core."""
        batch, following = self.batch, self.batch.rules
        shadow: list[Any] = []
        if profile is not None and not profile.rules:
            # Nothing was applied yet: there is only what was handed over, if it is still wanted.
            shadow, profile = profile.waiting if following.keeps(profile) else [], None
        before = span(profile) if following.is_warming else (0, 0)
        had = profile is not None
        profile, decision = following.step(profile, happening, batch.watermark, self.customer)
        if shadow:
            profile = profile or Profile()
            profile.waiting = shadow
        if isinstance(happening, Timer):
            self.expired = self.expired or (had and profile is None)
        elif arrival is not None:
            self.account(happening, arrival, decision)
            if following.is_warming and following.changeover is not None and profile is not None and is_known(profile):
                record = arrival[0] or b""
                if not following.changeover.remember(
                    profile, happening, record, decision.outcome, before, batch.watermark
                ):
                    self.names.append("backfill_overflow")
        self.tell(decision)
        return profile

    def account(self, event: Event, arrival: Arrival, decision: Decision) -> None:
        """Count what became of an event, and write down one that was not applied."""
        self.names.append(decision.outcome)
        if decision.outcome == "quarantined":
            self.batch.refuse(self.outputs, arrival, "quarantine", decision.reason, self.customer)
        elif decision.outcome == "late":
            source = self.batch.source(arrival)
            self.outputs.append(outputs.late_event(event, arrival[0] or b"", decision.late_by, source))

    def tell(self, decision: Decision) -> None:
        """Write the transitions of a decision."""
        self.next_timer = decision.next_timer
        for transition in decision.transitions:
            self.outputs.append(outputs.segment_change(transition, self.batch.settings.source, self.batch.emitted_at))
            self.names.append(transition.kind)
            self.changed_at = transition.effective_at
        for example in decision.examples:
            self.outputs.append((Destination.LEARNER, None, encode_example(example)))
            self.names.append("examples")

    # ---- changed rules ----

    def merge(self, profile: Profile | None, failed: dict[int, str]) -> Profile | None:
        """Bring the customer under the live rules with the history that was handed over; without it if it cannot be used."""
        if _MERGE in failed and profile is not None:
            self.refuse_failed((None, 0, HANDOVER_PARTITION, -1, 0, None), failed[_MERGE])
            profile.waiting = []
        self.is_merging = _MERGE not in failed
        had = profile is not None and is_known(profile)
        profile, decision = self.batch.rules.merge(profile, self.batch.watermark, self.customer)
        self.is_merging = False
        self.expired = self.expired or (had and profile is None)
        self.names.append("merged")
        self.tell(decision)
        return profile

    def park(self, profile: Profile | None, record: bytes) -> Profile | None:
        """Keep what was handed over until the rules are live."""
        following = self.batch.rules
        try:
            _, version, _, partition, cut, shadow = _handover_decoder.decode(record)
        except msgspec.DecodeError:
            self.names.append("control_dropped")
            return profile
        if version != following.version or not following.is_warming or following.changeover is None:
            self.names.append("handovers_ignored")
            return profile
        self.names.append("handovers")
        return following.changeover.park(profile, partition, cut, shadow)

    def answer(self, profile: Profile | None, record: bytes) -> None:
        """Say where the customer stands; nothing is changed by it."""
        try:
            _, request, _, segment = _request_decoder.decode(record)
        except msgspec.DecodeError:
            self.names.append("control_dropped")
            return
        batch = self.batch
        if profile is not None and batch.rules.has_to_merge(profile):
            copy = decode_profile(encode_profile(profile))
            profile, _ = batch.rules.merge(copy, batch.watermark, self.customer)
        known = profile if is_known(profile) else None
        clock = max(batch.watermark, known.latest if known is not None else 0)
        found = explain(known, batch.rules.rules, clock, self.customer, segment, batch.rules.reasons)
        self.outputs.append(outputs.explanation(request, found))
        self.names.append("requests")

    def concluded(self, state: bytes | None, profile: Profile | None) -> tuple[bytes | None, int]:
        """The answer: memberships if they have changed, the new state, the next timer."""
        customer, next_timer, changed_at = self.customer, self.next_timer, self.changed_at
        expired, sequence = self.expired, self.sequence
        if changed_at or (expired and sequence):
            # A customer who expired and came back, and is in nothing yet, has no memberships to tell of either.
            kept = profile if profile is not None and profile.sequence else None
            self.outputs.append(outputs.customer_segments(customer, kept, changed_at))
        if profile is None:
            return (None if state is None else b""), NEVER
        data = encode_profile(profile)
        return (None if data == state else data), next_timer

    def refuse_raw(self, arrival: Arrival) -> None:
        """A record that is no event at all: empty, or too long to be looked at."""
        self.names.append("dead_lettered")
        reason = "the record has no value" if arrival[0] is None else f"longer than allowed: {arrival[4]} bytes"
        self.batch.refuse(self.outputs, arrival, "intake", reason, self.customer)

    def refuse_failed(self, arrival: Arrival, reason: str) -> None:
        if arrival[2] in _FAILED:
            self.names.append(_FAILED[arrival[2]])
        else:
            self.names += ("received", "dead_lettered")
        self.batch.refuse(self.outputs, arrival, "step", reason, self.customer)


def _decoded(state: bytes) -> Profile:
    """The profile in a customer's state. Decoded anew for each batch: profiles that were kept decoded between two would be scattered over
    more memory than a processor's cache has, and to reach for them there takes longer.
    """
    try:
        return decode_profile(state)
    except ValueError:
        raise UnknownCodec("state is damaged: it cannot be decoded") from None


def _place(error: BaseException) -> str:
    """File and line in which an exception arose: its message might quote personal data, so that is left out."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "an unknown place"
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
