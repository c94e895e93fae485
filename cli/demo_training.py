"""What the demo's models know when its job begins: what the older part of the shop's history teaches, as `segue models train` does it.

The job then goes through all of the history, and what it says of the newer part is judged as outcomes become known: nothing of that
part was in the training. Only models whose outcomes are known within the older part are trained; others begin in the job.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from cli.demo_traffic import HISTORY_DAYS
from cli.history import DAY, Account, Arrived, Share, customer_of, decode
from cli.model_run import run_history
from cli.model_topics import GAP
from online_models.definition import Model
from online_models.version import ModelVersion
from profiles.event import Event
from shop import Delivery

UNSEEN_DAYS: Final = 5.0
"""So much of the history, its end, is not trained on."""


class Part:
    """The events of deliveries that happened `since` a moment and came before `until` (epoch ms), as a history is read."""

    def __init__(self, deliveries: Iterable[Delivery], since: int, until: int, disorder: int) -> None:
        self.deliveries, self.since, self.until, self.disorder = deliveries, since, until, disorder

    def events(
        self, account: Account, share: Share | None = None, days: float | None = None, now: int | None = None
    ) -> Iterator[tuple[Event, int]]:
        """The events, each with its watermark, which keeps to the bound of disorder."""
        account.end = self.until
        for event, watermark in decode(self._arrivals(account), account):
            if event.event_time >= self.since:
                yield event, watermark

    def _arrivals(self, account: Account) -> Iterator[Arrived]:
        for offset, one in enumerate(self.deliveries):
            if one.at >= self.until:
                return
            account.read += 1
            if customer := customer_of(one.key):
                yield Arrived(customer, one.value, one.at, 0, offset, one.at - self.disorder - 1)


def trainable(models: Iterable[Model]) -> list[Model]:
    """The models whose outcomes are known within what is trained on.

    >>> from online_models.definition import Target
    >>> from rules.definition import EventRef
    >>> models = [Model(str(days), "classification", (), (), Target("happens", EventRef("A"), days * DAY)) for days in (3, 30)]
    >>> [one.name for one in trainable([*models, Model("personas", "clustering", (), ())])]
    ['3']
    """
    most = (HISTORY_DAYS - UNSEEN_DAYS) * DAY
    return [one for one in models if one.target is not None and one.target.within < most]


def train(models: Iterable[Model], deliveries: Iterable[Delivery], start: int, disorder: int) -> list[ModelVersion]:
    """What the older part of the days before `start` (epoch ms) teaches: the versions that a job is to go on from.

    What lies before these days is left out: some customers are remembered from then, all of whom were to fall silent.
    """
    since, until = start - int(HISTORY_DAYS * DAY), start - int(UNSEEN_DAYS * DAY)
    run = run_history(trainable(models), Part(deliveries, since, until, disorder), now=start)
    # The learner of the job, which numbers from 1, must not have used these numbers when it hears of them.
    return [version for one in run.models for version in run.outcome.trained(one.name, GAP)]
