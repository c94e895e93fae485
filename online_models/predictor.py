"""What can be asked of a candidate once it is made."""

from __future__ import annotations

from typing import Any, Protocol

from online_models.example import Row

Output = float | str
"""A probability, a number, an anomaly score, or the id of a persona."""


class Predictor(Protocol):
    """A candidate at work: a pipeline with what it has learnt so far, calibrated where that is declared."""

    def predict(self, row: Row, previous: Output | None = None) -> Output | None:
        """What it says of a row; None where it cannot tell yet. Does not change it.

        `previous` is what the customer has been told to be so far: clusters let go of nobody who stands between two of them.
        """

    def learn(self, row: Row, label: float | None, weight: float) -> None:
        """Take in one example. To be asked for a prediction first is not needed."""

    def happened(self) -> list[dict[str, Any]]:
        """What has come about in it by learning since this was asked last, such as clusters that were born; mostly nothing."""

    def reasons(self, row: Row) -> list[tuple[str, float]]:
        """By feature, how much it moves the output of this row from that of a customer of whom nothing is known; largest first."""
