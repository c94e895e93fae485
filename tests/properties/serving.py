"""The core with models as the job drives it, and random models."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from online_models.advancing import advance
from online_models.definition import Learning, Model, Scoring, Target
from online_models.example import Example
from online_models.serving import Serving
from profiles import NEVER, Event
from rules.compiler import compile_plan
from rules.definition import EventRef, Segment
from rules.plan import Limits
from rules.step import Decision, Timer
from tests.models import Counted, model
from tests.properties.delivery import NOTHING, Customer, Rules
from tests.properties.strategies import Scores

COUNTED = "A"
NUMBER = "properties.price"


class Served(Customer):
    """One customer, with models."""

    def __init__(self, segments: Sequence[Segment], models: Sequence[Model], **limits: int) -> None:
        self.features = [Counted(COUNTED) for _ in models]
        plan = compile_plan(segments, Limits(**limits), watches=self.features)
        super().__init__(Rules(1, plan))
        self.serving: Serving | None = Serving(models, self.features)
        self.examples: list[Example] = []

    def apply(self, arrival: Event | Timer, watermark: int, scores: Scores = NOTHING) -> Decision:
        self.profile, decision = advance(self.profile, self.rules, self.serving, arrival, watermark, "c")
        self.next_timer = decision.next_timer if self.profile is not None else NEVER
        if isinstance(arrival, Timer):
            assert self.next_timer > max(arrival.due, watermark), "a timer that was served is due again"
        else:
            self.outcomes[decision.outcome] += 1
        self.transitions += decision.transitions
        self.examples += decision.examples
        return decision

    @property
    def kept(self) -> int:
        """For how long what the features count is kept under these rules."""
        return self.rules.plan.slots[self.features[0].slot].retention

    @property
    def brief(self) -> list[tuple[object, ...]]:
        """What the oracle foretells of examples."""
        return sorted((one.at, one.labelled_at, one.row, one.label, one.weight) for one in self.examples)


targets = st.builds(
    Target,
    st.sampled_from(("happens", "absent", "sum")),
    st.sampled_from(("A", "B", "B", "C")).map(EventRef),
    st.sampled_from((1, 9, 10, 30, 75)),
    st.just(NUMBER),
)

scorings = st.builds(Scoring, st.sampled_from((0, 1, 10, 25)), st.sampled_from((None, None, 5, 20, 40)))

learnings = st.builds(
    Learning,
    st.sampled_from((0, 1, 10, 40)),
    st.sampled_from((1.0, 0.5)),
    st.sampled_from((1.0, 0.5)),
    outcomes=st.sampled_from(("together", "at_once")),
)


@st.composite
def models(draw: st.DrawFn, name: str = "m") -> Model:
    """A model with a target, or one that learns without."""
    target = draw(st.one_of(targets, targets, targets, st.none()))
    task = "clustering" if target is None else "regression" if target.kind == "sum" else "classification"
    return model(target, name=name, task=task, scoring=draw(scorings), learning=draw(learnings))
