"""A rule set run over what many customers did, through the same `step` as the job: what would have come of it.

A backfill, a trial of rules before they are live and a look back at one customer are all this. No timers are kept: `step`
lets what is due pass before each event, each at its own millisecond, so only the end needs to let time pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from profiles.event import Event
from profiles.profile import Profile, decode_profile, encode_profile
from rules.step import Advance, Decision, Rules, Timer, Transition, without_models

OPEN_PROFILES: Final = 20_000
"""Profiles that are kept decoded: those used last. All others are bytes, a tenth of the size."""

FAILED: Final = "failed"


class Profiles(Mapping[str, Profile]):
    """The profiles of a history by customer. Each look decodes one anew, so what is done to it changes nothing.

    `encoded` holds each as bytes; as many as `most`, those used last, are kept decoded besides, for `take`.
    """

    def __init__(self, most: int = OPEN_PROFILES) -> None:
        self.encoded: dict[str, bytes] = {}
        self._open: dict[str, Profile] = {}
        self._most = max(1, most)

    def __getitem__(self, customer: str) -> Profile:
        return decode_profile(self.encoded[customer])

    def __iter__(self) -> Iterator[str]:
        return iter(self.encoded)

    def __len__(self) -> int:
        return len(self.encoded)

    def take(self, customer: str) -> Profile | None:
        """The customer's profile, to be changed; until `keep` is called it stays as it was."""
        profile = self._open.pop(customer, None)
        if profile is None and (data := self.encoded.get(customer)) is not None:
            profile = decode_profile(data)
        return profile

    def keep(self, customer: str, profile: Profile | None) -> None:
        """Keep the profile as it is now; None: there is none any more."""
        if profile is None:
            self.encoded.pop(customer, None)
            return
        self.encoded[customer] = encode_profile(profile)
        if len(self._open) >= self._most:
            del self._open[next(iter(self._open))]
        self._open[customer] = profile


class History:
    """What came of the events taken so far.

    `outcomes` counts events by what became of them; `failed` are those on which the core broke: as in the job, they are left out
    and the customer goes on as before (`failed_timers` where it broke at the end). `transitions` are all of them in the order in
    which they came about (in order of time for each customer), unless `keep_transitions` is False; each is given to
    `on_transition` as well. Where there are models, `advance` stands in for `step`, and each example is given to `on_example`. `encoded`
    holds each customer's profile as bytes. `clock` is the latest moment that is known of, in
    epoch milliseconds.

    >>> from rules.definition import EventRef, Happened, Segment
    >>> from rules.compiler import compile_plan
    >>> from types import SimpleNamespace
    >>> plan = compile_plan([Segment("bought", Happened(EventRef("Order"), within=100))])
    >>> history = History(SimpleNamespace(version=1, code=3, plan=plan))
    >>> _ = history.take(Event("e1", "Order", 1000, "anna", received_at=1000), 0)
    >>> history.finish(2000)
    >>> [(one.kind, one.effective_at) for one in history.transitions]
    [('entered', 1000), ('exited', 1100)]
    """

    def __init__(
        self,
        rule_set: Rules,
        keep_transitions: bool = True,
        on_transition: Callable[[Transition], None] | None = None,
        open_profiles: int = OPEN_PROFILES,
        advance: Advance = without_models,
        on_example: Callable[[Any], None] | None = None,
    ) -> None:
        self.rule_set = rule_set
        self.outcomes: Counter[str] = Counter()
        self.transitions: list[Transition] = []
        self.clock = 0
        self.profiles = Profiles(open_profiles)
        self.encoded: Mapping[str, bytes] = self.profiles.encoded
        self._keep = keep_transitions
        self._on_transition = on_transition
        self._advance = advance
        self._on_example = on_example

    def take(self, event: Event, watermark: int) -> Decision | None:
        """Apply one event, `watermark` being a moment up to which events have arrived. None if the core broke on it."""
        customer = event.customer
        profile = self.profiles.take(customer)
        try:
            profile, decision = self._advance(profile, self.rule_set, event, watermark, customer)
        except Exception:  # noqa: BLE001  (as in the job: whatever one event does to the core, the others go on, and it is counted)
            self.outcomes[FAILED] += 1
            return None
        self.outcomes[decision.outcome] += 1
        if decision.outcome == "applied" and event.event_time > self.clock:
            self.clock = event.event_time
        if watermark > self.clock:
            self.clock = watermark
        self._note(decision)
        self.profiles.keep(customer, profile)
        return decision

    def finish(self, clock: int) -> None:
        """Let time pass for every customer, up to and including `clock`."""
        self.clock = max(self.clock, clock)
        for customer in list(self.encoded):
            profile = self.profiles.take(customer)
            try:
                after, decision = self._advance(profile, self.rule_set, Timer(clock), clock, customer)
            except Exception:  # noqa: BLE001  (as above: the customer stays as the last event has left them)
                self.outcomes["failed_timers"] += 1
                continue
            self._note(decision)
            self.profiles.keep(customer, after)

    def _note(self, decision: Decision) -> None:
        if self._keep:
            self.transitions += decision.transitions
        if self._on_transition is not None:
            for transition in decision.transitions:
                self._on_transition(transition)
        if self._on_example is not None:
            for example in decision.examples:
                self._on_example(example)
