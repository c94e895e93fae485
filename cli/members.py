"""How many customers are in each segment, by the topic that keeps what each customer is in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

from cli.kafka import talk
from flink_jobs.settings import Settings

_SECONDS: Final = 600.0
"""How long reading the whole topic may take."""


class _Snapshot(msgspec.Struct):
    segments: dict[str, msgspec.Raw]


_decode = msgspec.json.Decoder(_Snapshot).decode


def count_members(settings: Settings) -> Counter[str]:
    """The number of members of each segment now, as far as it is committed."""
    from flink_jobs import topics

    def read(_: object) -> Counter[str]:
        records = topics.records(settings, settings.topics.customer_segments, within=_SECONDS)
        return members_of((one.key, one.value) for one in records)

    return talk(settings, read)


def members_of(snapshots: Iterable[tuple[bytes | None, bytes | None]]) -> Counter[str]:
    """The members by segment, of the newest snapshot of each customer; what is no snapshot is passed over.

    >>> members_of([(b"anna", b'{"segments": {"vip": {}, "new": {}}}'), (b"bert", b'{"segments": {"vip": {}}}'), (b"anna", None)])
    Counter({'vip': 1})
    """
    newest: dict[bytes, tuple[str, ...]] = {}
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    for key, value in snapshots:
        if key is None:
            continue
        if value is None:
            newest.pop(key, None)
            continue
        try:
            names = tuple(_decode(value).segments)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        newest[key] = known.setdefault(names, names)
    return Counter(name for names in newest.values() for name in names)
