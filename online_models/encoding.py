"""A row of feature values as the numbers that estimators take: numbers as they are, categories by one of three encodings.

Numbers that are unknown are left out. The encodings of a category:

- `onehot`: one indicator for each of the first `ONEHOT_VALUES` values seen while learning; all others share one, `device=*`.
- `hash`: one of `HASH_BUCKETS` indicators, chosen by a hash that is the same on every machine.
- `target`: the mean of the labels seen with this value, drawn towards the mean of all by `SMOOTHING` examples' worth (Micci-Barreca,
  "A preprocessing scheme for high-cardinality categorical attributes", 2001). Of more than `TARGET_VALUES` values, the later ones share
  one mean. What is known of a value when a row is encoded comes from earlier examples only: `learn` is called after.

Inside, features have numbers instead of names: River's k-means walks through sets of feature names, in an order that for strings
differs from process to process; for small numbers it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import xxhash

from online_models.example import Row
from online_models.features.kind import Column

ONEHOT_VALUES: Final = 20
HASH_BUCKETS: Final = 32
HASH_SEED: Final = 0x5E67E
TARGET_VALUES: Final = 1_000
SMOOTHING: Final = 20.0
LARGEST: Final = 1e12
LOWEST: Final = -LARGEST
"""Numbers beyond these count as these: squares of them still add up."""
LONGEST_VALUE: Final = 200

Features = dict[int, float]


def number_of(value: Any) -> float | None:
    """The number in a row, None where it is unknown. `TypeError` where it is text.

    >>> number_of(True), number_of(float("nan")), number_of(1e300)
    (1.0, None, 1000000000000.0)
    """
    if type(value) is float and LOWEST <= value <= LARGEST:
        return value
    if value is None:
        return None
    if isinstance(value, str):
        raise TypeError("text where a number belongs")
    if value != value or value in (float("inf"), float("-inf")):
        return None
    return float(max(LOWEST, min(LARGEST, value)))


def value_of(value: Any) -> str | None:
    """The category in a row as text, None where it is unknown."""
    if value is None:
        return None
    text = str(value)[:LONGEST_VALUE]
    # Half a pair of surrogates, which JSON can hold, is no text that could be stored.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class NumberColumn:
    """A number, and its mean over the examples."""

    def __init__(self, name: str, first: int) -> None:
        self.name = name
        self.feature = first
        self.count = 0
        self.mean = 0.0

    def number(self, value: Any) -> float | None:
        """The number to learn from."""
        return number_of(value)

    def remember(self, value: Any) -> None:
        """Take in a value that is about to be learnt."""
        number = number_of(value)
        if number is not None:
            self.count += 1
            self.mean += (number - self.mean) / self.count

    def typical(self) -> float | None:
        """What stands for a customer like most."""
        return self.mean if self.count else None

    def state(self) -> list[Any]:
        """What is to be stored."""
        return [self.count, self.mean]

    def restore(self, state: Sequence[Any]) -> None:
        """Take over what `state` gave."""
        count, mean = state
        self.count, self.mean = int(count), float(mean)


class TargetColumn:
    """A category as the mean of the labels seen with it."""

    def __init__(self, name: str, first: int) -> None:
        self.name = name
        self.feature = first
        self.values: dict[str, list[float]] = {}
        self.rest = [0.0, 0.0]
        self.all = [0.0, 0.0]
        self.count = 0

    @property
    def mean(self) -> float:
        """The mean of all labels."""
        return self.all[1] / self.all[0] if self.all[0] else 0.0

    def number(self, value: Any) -> float | None:
        """The mean of the labels of earlier examples with this value, drawn towards that of all."""
        text = value_of(value)
        return None if text is None else self.encoded(text)

    def encoded(self, text: str | None) -> float:
        """The number that stands for a value; None for one that was never seen."""
        known = None if text is None else self.values.get(text)
        weight, total = known or (self.rest if len(self.values) >= TARGET_VALUES else (0.0, 0.0))
        return (total + SMOOTHING * self.mean) / (weight + SMOOTHING)

    def remember(self, value: Any) -> None:
        """Count a value that is about to be learnt."""
        self.count += value is not None

    def learn(self, value: Any, label: float, weight: float) -> None:
        """Take in the value of an example and its label."""
        text = value_of(value)
        if text is None:
            return
        sums = self.values.get(text)
        if sums is None:
            sums = self.rest
            if len(self.values) < TARGET_VALUES:
                sums = self.values[text] = [0.0, 0.0]
        for each in (sums, self.all):
            each[0] += weight
            each[1] += weight * label

    def typical(self) -> str | None:
        """The value seen most."""
        return max(self.values, key=lambda value: self.values[value][0], default=None)

    def state(self) -> list[Any]:
        """What is to be stored."""
        return [self.values, self.rest, self.all, self.count]

    def restore(self, state: Sequence[Any]) -> None:
        """Take over what `state` gave."""
        values, rest, total, count = state
        self.count = int(count)
        self.values = {str(value)[:LONGEST_VALUE]: _two(sums) for value, sums in list(values.items())[:TARGET_VALUES]}
        self.rest, self.all = _two(rest), _two(total)


class OnehotColumn:
    """A category as one indicator for each value that is remembered, and one for the others."""

    def __init__(self, name: str, first: int) -> None:
        self.name = name
        self.first = first
        self.values: dict[str, int] = {}
        self.counts: list[int] = [0]

    width = ONEHOT_VALUES + 1

    def indicator(self, value: Any) -> int | None:
        """The feature that is 1 for this value; None where it is unknown, or was never learnt."""
        text = value_of(value)
        if text is None:
            return None
        place = self.values.get(text, 0)
        return self.first + place if self.counts[place] else None

    def indicators(self) -> list[int]:
        """All features that were learnt."""
        return [self.first + place for place, count in enumerate(self.counts) if count]

    def remember(self, value: Any) -> None:
        """Have an indicator for a value that is about to be learnt."""
        text = value_of(value)
        if text is None:
            return
        place = self.values.get(text)
        if place is None and len(self.values) < ONEHOT_VALUES:
            self.values[text] = place = len(self.counts)
            self.counts.append(0)
        self.counts[place or 0] += 1

    def typical(self) -> str | None:
        """The remembered value seen most."""
        return max(self.values, key=lambda value: self.counts[self.values[value]], default=None)

    def frequencies(self) -> list[tuple[int, float]]:
        """Each feature with its share of the examples in which the category was known."""
        total = sum(self.counts) or 1
        return [(self.first + place, count / total) for place, count in enumerate(self.counts)]

    def state(self) -> list[Any]:
        """What is to be stored."""
        return [self.values, self.counts]

    def restore(self, state: Sequence[Any]) -> None:
        """Take over what `state` gave."""
        values, counts = state
        if len(counts) != len(values) + 1 or len(values) > ONEHOT_VALUES:
            raise ValueError("indicators do not fit")
        if sorted(values.values()) != list(range(1, len(counts))):
            raise ValueError("indicators do not fit")
        self.values = {str(value)[:LONGEST_VALUE]: int(place) for value, place in values.items()}
        self.counts = [int(count) for count in counts]


class HashColumn:
    """A category as one of a fixed number of indicators."""

    def __init__(self, name: str, first: int) -> None:
        self.name = name
        self.first = first
        self.counts = [0] * HASH_BUCKETS
        # Boyer and Moore's vote: one value and a count find the one that more than half of the examples have.
        self.candidate: str | None = None
        self.votes = 0

    width = HASH_BUCKETS

    @staticmethod
    def bucket(text: str) -> int:
        """Which bucket a value falls into."""
        return int(xxhash.xxh64_intdigest(text.encode(), HASH_SEED)) % HASH_BUCKETS

    def indicator(self, value: Any) -> int | None:
        """The feature that is 1 for this value; None where it is unknown, or was never learnt."""
        text = value_of(value)
        if text is None:
            return None
        bucket = self.bucket(text)
        return self.first + bucket if self.counts[bucket] else None

    def indicators(self) -> list[int]:
        """All features that were learnt."""
        return [self.first + bucket for bucket, count in enumerate(self.counts) if count]

    def remember(self, value: Any) -> None:
        """Count a value that is about to be learnt."""
        text = value_of(value)
        if text is None:
            return
        self.counts[self.bucket(text)] += 1
        if not self.votes:
            self.candidate = text
        self.votes += 1 if text == self.candidate else -1

    def typical(self) -> str | None:
        """The value that more than half of the examples have; some value where none has so many."""
        return self.candidate

    def frequencies(self) -> list[tuple[int, float]]:
        """Each feature with its share of the examples in which the category was known."""
        total = sum(self.counts) or 1
        return [(self.first + bucket, count / total) for bucket, count in enumerate(self.counts)]

    def state(self) -> list[Any]:
        """What is to be stored."""
        return [self.counts, self.candidate, self.votes]

    def restore(self, state: Sequence[Any]) -> None:
        """Take over what `state` gave."""
        counts, candidate, votes = state
        if len(counts) != HASH_BUCKETS:
            raise ValueError("buckets do not fit")
        self.counts = [int(count) for count in counts]
        self.candidate, self.votes = value_of(candidate), int(votes)


NumberPart = NumberColumn | TargetColumn
IndicatorPart = OnehotColumn | HashColumn


class Encoder:
    """Encodes rows of these columns, and learns from examples what the encodings need.

    `parts` has one part for each column, in their order.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.parts: list[NumberPart | IndicatorPart] = []
        self.number_parts: list[tuple[int, NumberPart]] = []
        self.indicator_parts: list[tuple[int, IndicatorPart]] = []
        following = len(self.columns)
        for index, column in enumerate(self.columns):
            if not column.category or column.encode == "target":
                number: NumberPart = (TargetColumn if column.category else NumberColumn)(column.name, index)
                self.number_parts.append((index, number))
                self.parts.append(number)
            else:
                kind: Callable[[str, int], IndicatorPart] = OnehotColumn if column.encode == "onehot" else HashColumn
                indicators = kind(column.name, following)
                following += indicators.width
                self.indicator_parts.append((index, indicators))
                self.parts.append(indicators)

    def numbers(self, row: Row) -> Features:
        """The numbers of a row; unknown ones are left out, and those of columns of which nothing was learnt yet."""
        found: Features = {}
        for index, part in self.number_parts:
            if part.count:
                number = part.number(row[index])
                if number is not None:
                    found[index] = number
        return found

    def indicators(self, row: Row) -> Features:
        """The indicators of a row that are 1."""
        found: Features = {}
        for index, part in self.indicator_parts:
            feature = part.indicator(row[index])
            if feature is not None:
                found[feature] = 1.0
        return found

    def all_indicators(self, row: Row) -> Features:
        """All indicators that were learnt: 1 or 0."""
        found: Features = {}
        for index, part in self.indicator_parts:
            for feature in part.indicators():
                found[feature] = 0.0
            one = part.indicator(row[index])
            if one is not None:
                found[one] = 1.0
        return found

    def remember(self, row: Row) -> None:
        """Get to know the values of a row that is about to be learnt, all but what is learnt from its label."""
        for part, value in zip(self.parts, row, strict=True):
            part.remember(value)

    def learn(self, row: Row, label: float, weight: float) -> None:
        """Take in the label of an example, after its row was encoded for whatever is to learn from it."""
        for index, part in self.number_parts:
            if isinstance(part, TargetColumn):
                part.learn(row[index], label, weight)

    def state(self) -> list[Any]:
        """What is to be stored, of plain lists, mappings, texts and numbers."""
        return [part.state() for part in self.parts]

    def restore(self, state: Sequence[Any]) -> None:
        """Take over what `state` gave. `ValueError` or `TypeError` where it fits these columns not at all."""
        if len(state) != len(self.parts):
            raise ValueError("columns do not fit")
        for part, stored in zip(self.parts, state, strict=True):
            part.restore(stored)


def _two(values: Sequence[Any]) -> list[float]:
    first, second = values
    return [float(first), float(second)]
