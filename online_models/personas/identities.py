"""Which of the clusters of today is which of yesterday's: told by the customers that they share (MONIC: Spiliopoulou et al. 2006)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
from scipy.optimize import linear_sum_assignment

SAME: Final = 0.3
"""Of the points that two clusters have together, so many must be in both for the newer to be the older one."""

MOST_OF: Final = 0.5
"""Of the points of a cluster, more than this must come from another for it to be a part of it."""

CALLED: Final = 0.5
"""What it counts for that the same declared name fits both: whoever relies on the name means those whom it describes."""

Event = dict[str, Any]


def matched(
    before: Sequence[int],
    now: Sequence[int],
    living: Collection[int] = (),
    called: Collection[tuple[int, int]] = (),
) -> tuple[dict[int, int], list[Event]]:
    """For each cluster of now the one of before that it is (none: it is new), and what became of all.

    `before` and `now` are the clusters that the same points belonged to and belong to; `living` those of before, also if none of the points
    belonged to them. `called`: pairs of one of before and one of now that the same declared name fits, which counts for `CALLED`.
    Events: `birth` of a cluster, `split` with `of` the one that it came from, `death` of one that is no more, with `into` if most of it is
    in another now.

    >>> matched([1, 1, 2, 2, 2, 2], [7, 7, 8, 8, 9, 9])
    ({7: 1, 8: 2}, [{'kind': 'split', 'cluster': 9, 'of': 2}])
    """
    older, newer = sorted({*before, *living}), sorted(set(now))
    if not older:
        return {}, [{"kind": "birth", "cluster": name} for name in newer]
    counts = np.zeros((len(older), len(newer)))
    for one, other in zip(before, now, strict=True):
        counts[older.index(one), newer.index(other)] += 1
    together = counts.sum(axis=1)[:, None] + counts.sum(axis=0)[None, :] - counts
    alike = counts / np.maximum(together, 1)
    for one, other in called:
        alike[older.index(one), newer.index(other)] += CALLED
    # What is too unlike is worth nothing, so that it is never taken for the sake of another.
    alike = np.where(alike >= SAME, alike, 0.0)
    pairs = zip(*linear_sum_assignment(-alike), strict=True)
    found = {newer[column]: older[row] for row, column in pairs if alike[row, column]}
    kept = set(found.values())
    events: list[Event] = []
    for column, name in enumerate(newer):
        if name in found:
            continue
        source = int(counts[:, column].argmax())
        came = counts[source, column] / counts[:, column].sum()
        if came > MOST_OF and older[source] in kept:
            events.append({"kind": "split", "cluster": name, "of": older[source]})
        else:
            events.append({"kind": "birth", "cluster": name})
    for row, name in enumerate(older):
        if name in kept:
            continue
        target = int(counts[row].argmax())
        went = counts[row, target] / max(counts[row].sum(), 1)
        into = {"into": found[newer[target]]} if went > MOST_OF and newer[target] in found else {}
        events.append({"kind": "death", "cluster": name, **into})
    return dict(sorted(found.items())), events
