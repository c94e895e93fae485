"""The traffic and the rules that all contenders are given: the simulated shop, seeded, and ten rules of the catalogue.

Of each event's context only the device is kept, which leaves SDK JSON of about 300 bytes. Records are punctual (within the
bound of disorder) and clean, so that it can be said beforehand, to the transition, what must come out; duplicates stay in.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from rules.compiler import compile_plan
from rules.plan import members_of
from rules.rule_set import load_directory
from shop import simulate

ROOT: Final = Path(__file__).resolve().parent.parent
CATALOG: Final = ROOT / "rules" / "catalog"
CACHE: Final = ROOT / ".segue" / "benchmarks"

PARTITIONS: Final = 4
DISORDER: Final = 5_000
"""Bound of disorder of the traffic and of the watermarks, ms."""

DAYS: Final = 12.0
"""Length of the shop's dense history: at some 3.5 events a customer and day, more than is ever asked for."""

START: Final = 1_767_225_600_000
"""Where the shop's history ends, epoch ms (2026-01-01)."""

RULES: Final = (
    "abandoned-large-cart-24h",
    "high-value",
    "lapsed-buyer",
    "new-customer",
    "promo-mail-clicker",
    "reactivated",
    "recent-buyer",
    "recently-abandoned-cart",
    "repeat-viewer",
    "viewed-not-bought",
)
"""The ten segments: those of the catalogue but `viewed-product`, whose product this shop does not have, so that it costs nothing."""

_HEAD = struct.Struct(">QHI")


class Record(NamedTuple):
    """One record of the events topic. `at` is its timestamp (epoch ms), `offset` its place in the partition."""

    key: bytes
    value: bytes
    at: int
    partition: int
    offset: int


@dataclass(frozen=True)
class Workload:
    """So many events of so many customers, the same for the same seed."""

    events: int
    customers: int
    seed: int = 1

    def prefix(self, events: int) -> Workload:
        """The same traffic, cut off after so many events."""
        return Workload(min(events, self.events), self.customers, self.seed)

    def records(self) -> Iterator[Record]:
        """The records in the order in which they are produced; read from a file that is made at first use."""
        file = self._file()
        if not file.exists():
            self._write(file)
        offsets = [0] * PARTITIONS
        with file.open("rb", buffering=1 << 20) as stream:
            for _ in range(self.events):
                at, key_size, value_size = _HEAD.unpack(stream.read(_HEAD.size))
                key, value = stream.read(key_size), stream.read(value_size)
                partition = zlib.crc32(key) % PARTITIONS
                yield Record(key, value, at, partition, offsets[partition])
                offsets[partition] += 1

    def ends(self) -> list[int]:
        """For each partition, the offset after its last record."""
        ends = [0] * PARTITIONS
        for record in self.records():
            ends[record.partition] += 1
        return ends

    def _file(self) -> Path:
        """Another shop or other numbers give another name; a longer file of the same traffic serves a shorter one."""
        digest = hashlib.blake2b(digest_size=6)
        for source in (Path(__file__), *sorted((ROOT / "shop").glob("*.py"))):
            digest.update(source.read_bytes())
        prefix = f"{digest.hexdigest()}-{self.seed}-{self.customers}"
        longer = [
            file for file in CACHE.glob(f"{prefix}-*.records") if int(file.stem.rpartition("-")[2]) >= self.events
        ]
        return min(longer, key=lambda file: file.stat().st_size, default=CACHE / f"{prefix}-{self.events}.records")

    def _write(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        for old in CACHE.glob("*.records"):
            if not old.name.startswith(file.name.partition("-")[0]):
                old.unlink()  # of a shop that is no more
        partial = file.with_suffix(".partial")
        with partial.open("wb", buffering=1 << 20) as stream:
            for written, (key, value, at) in enumerate(self._simulated()):
                if written == self.events:
                    break
                stream.write(_HEAD.pack(at, len(key), len(value)) + key + value)
        partial.replace(file)

    def _simulated(self) -> Iterator[tuple[bytes, bytes, int]]:
        traffic = simulate(
            self.seed, self.customers, START, days=DAYS, disorder=DISORDER, stragglers=0.0, dirty=0.0, until=None
        )
        for delivery in traffic:
            if delivery.key is not None:
                yield delivery.key, lean(delivery.value), delivery.at


def lean(value: bytes) -> bytes:
    """The event without `sentAt`, and with nothing but the device in its context.

    >>> lean(b'{"timestamp":"t","sentAt":"t","context":{"device":{"type":"mobile"},"ip":"198.51.100.7"}}')
    b'{"timestamp":"t","context":{"device":{"type":"mobile"}}}'
    """
    head, _, tail = value.partition(b',"sentAt":')
    begin = tail.index(b'"device":{')
    return head + b',"context":{' + tail[begin : tail.index(b"}", begin)] + b"}}}"


def copy_rules(folder: Path, names: Iterable[str] = RULES) -> Path:
    """The rule files of these segments, the ten unless told, in a folder of their own, as `rules.rule_set.load_directory` takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(CATALOG / f"{name}.yaml", folder)
    return folder


def catalogue() -> tuple[str, ...]:
    """The segments of the whole catalogue but those that ask for what a model says: with and without models they are the same."""
    segments = load_directory(CATALOG).segments
    plan = compile_plan(segments)
    asking = 0
    for mask in plan.by_score.values():
        asking |= mask
    left_out = {one.name for unit in plan.of_mask(asking) for one in members_of(unit)}
    return tuple(sorted(one.name for one in segments if one.name not in left_out))
