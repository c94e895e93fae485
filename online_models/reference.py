"""What may stand in a model file, in words: made into docs/models.md and the editors' schema, and held in step with the parser by tests."""

from __future__ import annotations

from typing import Final

from online_models.parse import TASKS
from online_models.part_reader import METRICS, OUTCOMES
from rules.kinds.kind import Key

MODEL: Final = (
    Key("model", "name", "the name of the model, as the file's: small letters and digits, joined by `_` or `-`", True),
    Key("name", "text", "what people call it; `model` unless told"),
    Key("owner", "text", "who is asked about it"),
    Key("description", "text", "what it is for"),
    Key("task", "text", "what is foretold", True, TASKS),
    Key(
        "timezone",
        "text",
        "where customers are of whom that is not known: `Europe/Berlin`; the rules' zone unless told",
    ),
)
"""The keys of a model file that hold one value."""

PARTS: Final[dict[str, tuple[str, str, tuple[Key, ...]]]] = {
    "target": (
        "What is foretold: what happens after the moment at which a customer is scored, the moment itself not included. Classification and "
        "regression need one, others have none.",
        "target: {event: Order Completed, within: 7d}",
        (
            Key(
                "event",
                "event",
                "1 if such an event comes in time, else 0; with `sum`, the events whose numbers are added",
            ),
            Key("absent", "event", "instead of `event`: 1 if no such event comes in time, else 0"),
            Key(
                "sum", "path", "for regression: the number at this path is added up over all `event`s that come in time"
            ),
            Key("where", "where", "what must hold of each of these events"),
            Key("within", "duration", "how far ahead is looked", True),
        ),
    ),
    "score": (
        "When a customer is scored: when something has changed that a feature looks at, and at most so often.",
        "score: {every: 1h, refresh: 1d}",
        (
            Key("every", "duration", "at most once in so long; `0s` for each event; 1h unless told"),
            Key(
                "refresh",
                "duration",
                "without any event, anew after so long, then after twice as long, and so on; never unless told",
            ),
        ),
    ),
    "learn": (
        "Which moments become examples, and when a new version is published. Every example is a score that was really made.",
        "learn: {every: 1d, sample: 50%, negatives: 20%, publish: 1h, publish_examples: 1000}",
        (
            Key("every", "duration", "of a customer one example in so long at most; 1d unless told"),
            Key(
                "sample",
                "share",
                "the share of moments that become examples, the same moments for all models; 100% unless told",
            ),
            Key(
                "negatives",
                "share",
                "the share of examples kept whose outcome is 0; those kept weigh more for it; 100% unless told",
            ),
            Key(
                "publish",
                "duration",
                "a new version after so much event time in which something was learnt; 1h unless told",
            ),
            Key("publish_examples", "integer", "or after so many examples, whichever comes first; 1000 unless told"),
            Key(
                "least",
                "integer",
                "from so many examples a candidate has learnt before its first version; 100 unless told",
            ),
            Key(
                "outcomes",
                "text",
                "for classification: `together` learns whatever came when `within` is over; `at_once` learns what has happened as soon as "
                "it has, and so too much of it while traffic begins or grows; `together` unless told",
                among=OUTCOMES,
            ),
        ),
    ),
    "promote": (
        "When a challenger becomes champion: once it is better on the same examples, beyond a margin and beyond chance.",
        "promote: {metric: log_loss, margin: 2%, confidence: 0.95, least: 1000}",
        (
            Key(
                "metric",
                "text",
                "by what they are compared; `log_loss` unless told, `mae` for regression",
                among=tuple(metric for metrics in METRICS.values() for metric in metrics),
            ),
            Key("margin", "share", "how much better it has to be; 0% unless told"),
            Key("confidence", "number", "how surely, from 0.5 to 0.9999, over all looks together; 0.95 unless told"),
            Key("least", "integer", "nothing is concluded from fewer examples; 1000 unless told"),
            Key("automatic", "boolean", "`false`: it is only said (`would promote`); true unless told"),
        ),
    ),
    "fairness": (
        "A trait that the model must not decide by: it cannot be a feature, and outcomes are compared by its values.",
        "fairness: {trait: gender, threshold: 0.5, bound: 0.1}",
        (
            Key("trait", "text", "the protected trait", True),
            Key("threshold", "number", "from this score on a customer counts as selected", True),
            Key(
                "bound",
                "number",
                "the largest difference between the shares of groups that are selected; above it there is an alert",
                True,
            ),
            Key(
                "constrain",
                "boolean",
                "give groups thresholds of their own, so that the difference stays within the bound, in the score that rules see; "
                "false unless told",
            ),
        ),
    ),
    "personas": (
        "For clustering: how many personas there may be, what it takes for them to change, and names for those that look so.",
        "personas: {fewest: 3, most: 6, first: 2000, names: {big-spenders: {spend: high, orders: high}}}",
        (
            Key("fewest", "integer", "personas at least; 2 unless told"),
            Key("most", "integer", "personas at most; 8 unless told"),
            Key(
                "first",
                "integer",
                "examples before the first personas; up to as many more while customers do not stand still; 500 unless told",
            ),
            Key("memory", "integer", "examples, the newest, that a review looks back at; 1000 unless told"),
            Key("reviews", "integer", "reviews in a row that must find a change before it happens; 3 unless told"),
            Key(
                "margin",
                "number",
                "by so much better must the silhouette of others be, and for one declared name more so much worse; 0.03 unless told",
            ),
            Key("stay", "share", "by so much nearer must another persona be for a customer to change; 15% unless told"),
            Key("empty", "share", "a persona with fewer of the customers than this dies, 10% at most; 1% unless told"),
            Key(
                "returns",
                "integer",
                "examples for which one that has died is remembered: come back, it is the same; 10000 unless told",
            ),
            Key("names", "mapping", "names, each with features that are `high` or `low` of those who are called so"),
        ),
    ),
}
"""The keys that hold a mapping: its meaning, an example, and what stands in it."""

SEARCH: Final = (
    "For `segue models tune`: by the name of a candidate, which of its parameters are searched, at most ten. A parameter is written as the "
    "way to it, a step of the pipeline first; `calibrate` is one as well. It means nothing to a running job.",
    "tune: {logistic: {LogisticRegression.l2: {from: 0.00001, to: 0.1, log: true}, calibrate: [platt, isotonic]}}",
    (
        Key("from", "number", "the least value", True),
        Key("to", "number", "the largest", True),
        Key("log", "boolean", "whether it is its order of magnitude that counts; false unless told"),
    ),
)
"""What stands under `tune`: its meaning, an example, and the keys of a scale (a list of values may stand instead)."""

CANDIDATE: Final = (
    Key("name", "name", "what it is called in figures and versions", True),
    Key(
        "pipeline",
        "steps",
        "estimators by name, in their order; `{Name: {parameter: value}}` where one is to be other than usual",
        True,
    ),
    Key(
        "calibrate",
        "text",
        "for classification: how scores become probabilities, learnt from what came; `none` unless told",
        among=("none", "platt", "isotonic"),
    ),
)
"""The keys of a candidate."""
