"""Segment changes as people read them: the CloudEvent of a transition, and its reason in a few words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

_SIGNS: Final = {"gte": "≥", "gt": ">", "lte": "≤", "lt": "<", "eq": "=", "ne": "≠"}
_OPERATOR: Final = re.compile(f" ({'|'.join(_SIGNS)}) ")


@dataclass(frozen=True, slots=True)
class Change:
    """One transition. Times in epoch milliseconds; `evidence` and `cause` as the job wrote them."""

    id: str
    customer: str
    segment: str
    entered: bool
    effective_at: int
    emitted_at: int
    cause: Mapping[str, Any]
    evidence: tuple[Mapping[str, Any], ...]

    @property
    def by_event(self) -> bool:
        """Whether an event led to it, not the passing of time, new rules or an expiry."""
        return self.cause.get("kind") == "event"


def read_change(value: bytes | None) -> Change | None:
    """The transition in a record of the changes topic; None where it holds something else."""
    try:
        event = msgspec.json.decode(value or b"")
        data = event["data"]
        return Change(
            str(event["id"]),
            str(data["customer"]),
            str(data["segment"]),
            event["type"] == "segment.entered",
            _time(data["effective_at"]),
            _time(data["emitted_at"]),
            dict(data.get("cause") or {}),
            tuple(one for one in data.get("evidence") or () if isinstance(one, dict)),
        )
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return None


def reason(change: Change, most: int = 2) -> str:
    """Why it came to this: the cause, and the evidence that decided (at most so many pieces of it).

    >>> change = Change("1", "c", "s", True, 0, 0, {"kind": "event", "event": "Product Viewed"},
    ...     ({"condition": "Product Viewed within 7d", "holds": True, "actual": 4, "threshold": {"gte": 4}},))
    >>> reason(change)
    '4 × Product Viewed within 7d (≥ 4)'
    """
    told = "; ".join(evidence_words(one) for one in _deciding(change)[:most])
    cause = cause_words(change)
    if change.by_event and cause in told:
        return told
    return f"{cause}: {told}" if told else cause


def cause_words(change: Change) -> str:
    """What set it off."""
    kind = change.cause.get("kind")
    if kind == "event":
        return plain(str(change.cause.get("event", "an event")))
    if kind == "timer":
        return "time passed"
    return plain(str(kind or "no cause given"))


def _deciding(change: Change) -> list[Mapping[str, Any]]:
    """The evidence that speaks for the transition, what has to do with its cause first.

    Below a `not` it is the failing condition that lets a customer in, so where nothing speaks for it, all of it is
    shown; but a customer whom an event or a time limit ends (`exit`) leaves whatever the conditions say.
    """
    speaking = [one for one in change.evidence if bool(one.get("holds")) is change.entered]
    if not speaking:
        return list(change.evidence) if change.entered else []
    name = str(change.cause.get("event", ""))

    def strange(one: Mapping[str, Any]) -> bool:
        text = str(one.get("condition", ""))
        return name not in text if change.by_event else "since" not in text and " no " not in f" {text}"

    return sorted(speaking, key=strange)


def evidence_words(one: Mapping[str, Any]) -> str:
    """One deciding condition, its actual value and its threshold.

    >>> evidence_words({"condition": "no Order Completed", "holds": True, "threshold": "none within 30d"})
    'no Order Completed within 30d'
    >>> evidence_words({"condition": "sum of properties.revenue over Order Completed", "holds": True, "actual": 812.5,
    ...     "threshold": {"gte": 500}})
    'sum of revenue 812.5 (≥ 500) over Order Completed'
    """
    text = plain(str(one.get("condition", ""))).replace("properties.", "")
    text = _OPERATOR.sub(lambda found: f" {_SIGNS[found.group(1)]} ", text)
    actual, threshold = one.get("actual"), one.get("threshold")
    if isinstance(threshold, str):
        return _silence(text, bool(one.get("holds")), threshold)
    bound = _bound(threshold)
    if isinstance(actual, list):  # the values of a property that fulfil it, each with its count
        values = ", ".join(f"{plain(str(v.get('value')))} × {v.get('count')}" for v in actual if isinstance(v, dict))
        return f"{values}{bound}: {text}" if values else f"none left of {text}"
    if text.startswith("trait "):
        name = text.split()[1] if len(text.split()) > 1 else text
        return f"{name} is {_value(actual) if actual is not None else 'unknown'}{bound}"
    if text.startswith("time since "):
        return f"{_value(actual)} since {text.removeprefix('time since ').replace(' any event', ' event')}{bound}"
    what, over, events = text.partition(" over ")
    if over:
        return f"{what} {_value(actual)}{bound} over {events}"
    if isinstance(actual, int) and not isinstance(actual, bool):
        return f"{actual} × {text}{bound}"
    return f"{text}: {_value(actual)}{bound}"


def _silence(text: str, holds: bool, threshold: str) -> str:
    limit = threshold.removeprefix("none ").removeprefix("silence of ")
    if text.startswith("no "):
        return f"{text} {limit}" if holds else f"{text.removeprefix('no ')} {limit.replace('never', 'at some time')}"
    return f"{text} for {limit}" if holds else f"no longer {text} for {limit}"


def _bound(threshold: Any) -> str:
    if not isinstance(threshold, dict) or not threshold:
        return ""
    words = []
    for operator, operand in threshold.items():
        if operator == "between" and isinstance(operand, list) and len(operand) == 2:
            words.append(f"{_value(operand[0])} to {_value(operand[1])}")
        else:
            words.append(f"{_SIGNS.get(operator, operator)} {_value(operand)}")
    return f" ({', '.join(words)})"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return f"{value:,}"
    return "nothing" if value is None else plain(str(value))


def plain(text: str, most: int = 120) -> str:
    """Text from outside, safe for a terminal: no control characters, no endless lines.

    >>> plain("a\\x1b[2Jb")
    'a\ufffd[2Jb'
    """
    shown = "".join(one if one.isprintable() else "\ufffd" for one in text[: most + 1])
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def local_time(time: int) -> str:
    """Epoch milliseconds as the time of day here."""
    return datetime.fromtimestamp(time / 1000, UTC).astimezone().strftime("%H:%M:%S")


def local_moment(time: int) -> str:
    """Epoch milliseconds as date and time of day here: history is followed as well as the present."""
    return datetime.fromtimestamp(time / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _time(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
