"""Which of the clusters of today is which of yesterday's: told by the customers that they share (MONIC: Spiliopoulou et al. 2006)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from scipy.optimize import linear_sum_assignment

SAME: Final = 0.3
"""Of the points that two clusters have together, so many must be in both for the newer to be the older one."""

MOST_OF: Final = 0.5
"""Of the points of a cluster, more than this must come from another for it to be a part of it."""

Event = dict[str, Any]


def matched(before: Sequence[int], now: Sequence[int]) -> tuple[dict[int, int], list[Event]]:
    """For each cluster of now the one of before that it is (none: it is new), and what became of all.

    `before` and `now` are the clusters that the same points belonged to and belong to. Events: `birth` of a cluster, `split` with `of` the
    one that it came from, `death` of one that is no more, with `into` if most of it is in another now.

    >>> matched([1, 1, 2, 2, 2, 2], [7, 7, 8, 8, 9, 9])
    ({7: 1, 8: 2}, [{'kind': 'split', 'cluster': 9, 'of': 2}])
    """
    older, newer = sorted(set(before)), sorted(set(now))
    counts = np.zeros((len(older), len(newer)))
    for one, other in zip(before, now, strict=True):
        counts[older.index(one), newer.index(other)] += 1
    together = counts.sum(axis=1)[:, None] + counts.sum(axis=0)[None, :] - counts
    alike = counts / np.maximum(together, 1)
    found: dict[int, int] = {}
    for row, column in zip(*linear_sum_assignment(-alike), strict=True):
        if alike[row, column] >= SAME:
            found[newer[column]] = older[row]
    events: list[Event] = []
    for column, name in enumerate(newer):
        if name in found:
            continue
        source = int(counts[:, column].argmax()) if older else 0
        came = counts[source, column] / counts[:, column].sum() if older else 0.0
        if came > MOST_OF and older[source] in found.values():
            events.append({"kind": "split", "cluster": name, "of": older[source]})
        else:
            events.append({"kind": "birth", "cluster": name})
    for row, name in enumerate(older):
        if name in found.values():
            continue
        target = int(counts[row].argmax())
        went = counts[row, target] / counts[row].sum()
        into = {"into": found[newer[target]]} if went > MOST_OF and newer[target] in found else {}
        events.append({"kind": "death", "cluster": name, **into})
    return dict(sorted(found.items())), events
