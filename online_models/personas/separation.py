"""How well clusters are apart, on a sample: silhouette (Rousseeuw 1987) and the index of Davies and Bouldin (1979)."""

from __future__ import annotations

from typing import Any

import numpy as np


def distances(points: Any) -> Any:
    """How far each point is from each; `points` has a row for each of them, and so has what is returned."""
    squares = (points**2).sum(axis=1)
    found = np.sqrt(np.maximum(squares[:, None] + squares[None, :] - 2 * points @ points.T, 0.0))
    np.fill_diagonal(found, 0.0)
    return found


def silhouette(apart: Any, labels: Any) -> float:
    """From -1 to 1: how much nearer points lie to their own cluster than to the next. 0 with fewer than two clusters.

    `apart` are the `distances` of the points, `labels` has the cluster of each. A cluster of one point counts 0.
    """
    names = np.unique(labels)
    if len(names) < 2:
        return 0.0
    members = labels[None, :] == names[:, None]
    sizes = members.sum(axis=1)
    sums = apart @ members.T
    own = members.argmax(axis=0)
    rows = np.arange(len(labels))
    alone = sizes[own] == 1
    within = sums[rows, own] / np.maximum(sizes[own] - 1, 1)
    others = sums / sizes[None, :]
    others[rows, own] = np.inf
    nearest = others.min(axis=1)
    most = np.maximum(within, nearest)
    scores = np.where(alone | (most == 0), 0.0, (nearest - within) / np.where(most == 0, 1.0, most))
    return float(scores.mean())


def davies_bouldin(points: Any, labels: Any) -> float:
    """The mean, over clusters, of how much they spread against how far they are from the one that is worst for it; lower is better."""
    names = np.unique(labels)
    if len(names) < 2:
        return 0.0
    centres = np.array([points[labels == name].mean(axis=0) for name in names])
    spreads = np.array(
        [
            np.sqrt(((points[labels == name] - centre) ** 2).sum(axis=1)).mean()
            for name, centre in zip(names, centres, strict=True)
        ]
    )
    between = np.sqrt(((centres[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2))
    np.fill_diagonal(between, np.inf)
    if not between.min():
        return float("inf")
    return float(((spreads[:, None] + spreads[None, :]) / between).max(axis=1).mean())
