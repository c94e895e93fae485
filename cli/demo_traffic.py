"""The demo's traffic, in a process of its own so that neither it nor the view can hold up the other.

First the simulated shop's history as fast as Kafka takes it, then its live part, each record at its own time. How far it is stands
in a status file, always whole.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from cli.errors import UserError
from cli.sending import KafkaSender, Sender
from shop import Delivery, simulate

HISTORY_DAYS: Final = 12.0
"""How long the shop has been open: long enough for outcomes of some days to be known of many customers."""

_TELL_EVERY: Final = 0.5


@dataclass(slots=True)
class Status:
    """How far the traffic is. `live` once the history is in Kafka; `behind` is how many ms the newest record came late."""

    history: int = 0
    sent: int = 0
    live: bool = False
    behind: int = 0
    failure: str = ""


class StatusFile:
    """Writes the status now and then, and at once when something has changed for good."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._told = float("-inf")

    def tell(self, status: Status, *, now: bool = False) -> None:
        """Write it if it is time to, or if told to."""
        if not now and self._clock() - self._told < _TELL_EVERY:
            return
        self._told = self._clock()
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(asdict(status)), "utf-8")
        new.replace(self._path)


def read_status(path: Path) -> Status | None:
    """What the traffic last said; None before its first word."""
    try:
        return Status(**json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None


def shop(
    seed: int, customers: int, start: int, rate: float, disorder: int, *, history: bool = True
) -> Iterator[Delivery]:
    """The demo's deliveries: the same for whoever asks with the same arguments; see `shop.simulate`."""
    days = HISTORY_DAYS if history else 0.0
    return simulate(seed, customers, start, days=days, rate=rate, disorder=disorder, past=history)


def play(
    deliveries: Iterable[Delivery],
    sender: Sender,
    topic: str,
    start: int,
    tell: Callable[..., None],
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Status:
    """Sends what lies before `start` (epoch ms) at once, the rest at its time; open loop, so that what came late is made up for."""
    status = Status()
    for delivery in deliveries:
        if delivery.at < start:
            status.history += 1
        else:
            if not status.live:
                # Those who wait for this begin to read: all of the history must be there.
                sender.finish()
                status.live = True
                tell(status, now=True)
            while (early := delivery.at / 1000 - clock()) > 0:
                sleep(min(early, _TELL_EVERY))
                tell(status)
            status.behind = max(0, round(-early * 1000))
        sender.send(topic, delivery.key, delivery.value, delivery.at)
        status.sent += 1
        tell(status)
        if sender.broken:
            break
    sender.finish()
    status.live = True
    status.failure = sender.failure if sender.failed else ""
    tell(status, now=True)
    return status


def main() -> int:
    """Plays until it is ended."""
    parser = argparse.ArgumentParser(prog="cli.demo_traffic")
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--status", required=True, type=Path)
    parser.add_argument("--start", required=True, type=int)
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--customers", required=True, type=int)
    parser.add_argument("--rate", required=True, type=float)
    parser.add_argument("--disorder", required=True, type=int)
    parser.add_argument("--no-history", action="store_true")
    args = parser.parse_args()
    deliveries = shop(args.seed, args.customers, args.start, args.rate, args.disorder, history=not args.no_history)
    try:
        with KafkaSender(args.bootstrap) as sender:
            status = play(deliveries, sender, args.topic, args.start, StatusFile(args.status).tell)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if status.failure:
        print(f"error: {status.failure}", file=sys.stderr)
    return 1 if status.failure else 0


if __name__ == "__main__":
    sys.exit(main())
