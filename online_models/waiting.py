"""Examples from the moment at which they begin until their outcome is known, as a customer's profile keeps them.

An example begins with what is known at a moment, and waits for `Target.within` after it, until the watermark has reached the end of the
window: nothing that belongs into it can come any more, in whatever order events arrive within the bound. An event that the target means
is noted meanwhile, or added to the sum. So the examples of a moment are learnt together, whatever came of them, in the mix in which
outcomes come.

With `Learning.outcomes` `at_once` such an event ends the waiting (`happens`, `absent`). What has come is learnt sooner then, but of the
newest moments nothing else is: while traffic begins or grows, a model sees more of it than there is.

A waiting example is `[at, came, said]`. `came` is the sum so far in millionths, or 1 once the event has come; `said` is what is known of
the moment, `[row, predictions, segments, group, score age]`, as bytes (msgpack): profiles are read and written with almost every event,
and what a window waits for changes none of it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import xxhash

from online_models.definition import Model
from online_models.example import Example, Row
from profiles.event import Event
from profiles.profile import NEVER, Profile
from profiles.values import MICROS, each_reader, micros
from rules.compiler import event_test

MOST_WAITING: Final = 16
"""Examples of one customer and model whose window is open: where more would be, they are further apart than `Learning.every` says."""

MOST_SEGMENTS: Final = 32
"""Names of segments that an example keeps."""

GROUP_LENGTH: Final = 64
"""Characters of the protected trait that are kept."""

_MOST_SUM: Final = 2**63 - 1
_ALL: Final = 2**64

_CAME: Final = 1

Waiting = list[list[Any]]
"""Of one customer and model, ascending in `at`."""

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode


def packed(waiting: Waiting) -> Waiting:
    """Waiting examples in the form that they have now; an older build has left them as `[at, row, predictions, ..., came, score age]`.

    >>> ((at, came, said),) = packed([[5, [1.0], {}, [], "", 0, None]])
    >>> at, came, _unpack(said)
    (5, 0, [[1.0], {}, [], '', None])
    """
    found = []
    for one in waiting:
        if len(one) == 3:
            found.append(one)
            continue
        at, row, predictions, segments, group, came, *age = one
        found.append([at, came, _pack((row, predictions, segments, group, age[0] if age else None))])
    return found


class Examples:
    """Begins and ends the examples of one model. `apart`: the least time between two of one customer.

    `zone` is where customers are of whom that is not known.
    """

    def __init__(self, model: Model, zone: str) -> None:
        self.model = model
        self.target = target = model.target
        self.within = target.within if target is not None else 0
        self.apart = max(model.learning.every, -(-self.within // (MOST_WAITING - 1)), 1)
        self.is_meant = event_test(target.ref, model.zone or zone) if target is not None else None
        self.at_once = model.learning.outcomes == "at_once"
        self._each = each_reader(target.of) if target is not None and target.kind == "sum" else None
        self._sampled = round(model.learning.sample * _ALL)
        self._kept = round(model.learning.negatives * _ALL)

    def is_sampled(self, customer: str, at: int) -> bool:
        """Whether the customer's moment is of the share that is learnt from; the same for every replay, and for all models: so what begins
        together also ends together, and customers are woken for it once.
        """
        key = customer.encode("utf-8", "surrogatepass")
        return self._sampled >= _ALL or bool(xxhash.xxh3_64_intdigest(key, at) < self._sampled)

    def begin(
        self,
        profile: Profile,
        waiting: Waiting,
        at: int,
        row: Row,
        predictions: dict[str, list[Any]],
        score_age: int | None = None,
    ) -> None:
        """Let an example wait for its outcome."""
        waiting.append([at, 0, _pack(self._known(profile, row, predictions, score_age))])

    def unlabelled(
        self,
        profile: Profile,
        at: int,
        row: Row,
        predictions: dict[str, list[Any]],
        score_age: int | None,
        known: int,
        customer: str,
    ) -> Example:
        """The example for a model that learns without outcomes."""
        said = self._known(profile, row, predictions, score_age)
        return Example(self.model.name, self.model.digest, customer, at, known, row, None, 1.0, *said[1:])

    def _known(
        self, profile: Profile, row: Row, predictions: dict[str, list[Any]], score_age: int | None
    ) -> tuple[Row, dict[str, list[Any]], list[str], str, int | None]:
        names = sorted(name for name, entry in profile.segments.items() if entry[0])
        return row, predictions, names[:MOST_SEGMENTS], self.group(profile), score_age

    def due(self, waiting: Waiting) -> int:
        """When the first of them ends; NEVER if none waits."""
        return waiting[0][0] + self.within if waiting else NEVER

    def take(self, waiting: Waiting, event: Event, watermark: int, customer: str) -> list[Example]:
        """Count an event that the target means; the examples whose outcome is known by it."""
        assert self.target is not None
        time = event.event_time
        meant = [one for one in waiting if one[0] < time <= one[0] + self.within]
        if self._each is not None:
            number = sum(found for value in self._each(event) if (found := micros(value)) is not None)
            for one in meant:
                one[_CAME] = max(-_MOST_SUM, min(one[_CAME] + number, _MOST_SUM))
            return []
        for one in meant:
            one[_CAME] = 1
        if not self.at_once or not meant:
            return []
        waiting[:] = [one for one in waiting if not one[_CAME]]
        # Who learns has been told that the watermark was passed; what comes later than that is learnt next.
        known = max(time, watermark + 1)
        return [found for one in meant for found in self._labelled(one, known, customer)]

    def settle(self, waiting: Waiting, until: int, customer: str) -> list[Example]:
        """The examples whose window has ended by `until`, each known at its end."""
        ended: list[Example] = []
        while waiting and waiting[0][0] + self.within <= until:
            ended += self.end(waiting, customer)
        return ended

    def end(self, waiting: Waiting, customer: str) -> list[Example]:
        """The first of them, with what its window has brought so far."""
        one = waiting.pop(0)
        return self._labelled(one, one[0] + self.within, customer)

    def _labelled(self, one: list[Any], known: int, customer: str) -> list[Example]:
        """The example with what came of it; none where it is not of the share that is kept."""
        label, weight = self._label(one[_CAME]), 1.0
        if not label and self._kept < _ALL:
            if self._draw(customer, one[0]) >= self._kept:
                return []
            weight = 1 / self.model.learning.negatives
        row, *said = _unpack(one[2])
        return [Example(self.model.name, self.model.digest, customer, one[0], known, row, label, weight, *said)]

    def _label(self, came: int) -> float:
        assert self.target is not None
        if self.target.kind == "sum":
            return came / MICROS
        return float(bool(came) == (self.target.kind == "happens"))

    def _draw(self, customer: str, at: int) -> int:
        text = f"{self.model.name}\0{customer}\0{at}".encode("utf-8", "surrogatepass")
        return int(xxhash.xxh3_64_intdigest(text, 1))

    def group(self, profile: Profile) -> str:
        """The value of the protected trait as text; "" where it is unknown or none is declared."""
        fairness = self.model.fairness
        written = profile.traits.get(fairness.trait) if fairness is not None else None
        if written is None or written[0] is None:
            return ""
        value = written[0]
        return (str(value).lower() if isinstance(value, bool) else str(value))[:GROUP_LENGTH]
