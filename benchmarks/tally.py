"""Sets of transitions, compared by count and by a digest that does not depend on their order."""

from __future__ import annotations

import msgspec


class Summary(msgspec.Struct, frozen=True):
    """`transitions` different ones, of which `settled` took effect by the cut; digests are the sums of their ids."""

    transitions: int
    digest: int
    settled: int
    settled_digest: int
    repeated: int = 0


class Tally:
    """Collects transitions. `cut` (epoch ms) is a moment by which even an engine with timers has passed everything due."""

    def __init__(self, cut: int) -> None:
        self.cut = cut
        self.seen: set[int] = set()
        self.settled: set[int] = set()
        self.repeated = 0

    def add(self, transition_id: str, effective_at: int) -> None:
        number = int(transition_id[:15], 16)
        if number in self.seen:
            self.repeated += 1
        self.seen.add(number)
        if effective_at <= self.cut:
            self.settled.add(number)

    def summary(self) -> Summary:
        return Summary(
            len(self.seen), sum(self.seen) % 2**53, len(self.settled), sum(self.settled) % 2**53, self.repeated
        )
