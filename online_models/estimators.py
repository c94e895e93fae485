"""The safe list: which of River's estimators a pipeline may name, and with which parameters within which bounds.

A model file names them; nothing else of River can be reached from one. What costs memory or time is bounded: the number of trees and
their depth, windows, clusters. What is random has a seed, so that the same examples make the same model. River bounds trees by the
size of Python's objects, which is not the same on all machines; here only their depth bounds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from river import (
    anomaly,
    cluster,
    drift,
    forest,
    linear_model,
    metrics,
    model_selection,
    naive_bayes,
    neighbors,
    optim,
    preprocessing,
    tree,
)

from online_models.factories import choosing_of, forest_of, neighbours_of, regression_tree_of
from online_models.parameter import Estimator, Parameter, choice, flag, number, part, whole

_NEVER: Final = 1 << 53
"""A number of examples that nobody reaches."""

MOST_TREES: Final = 50
MOST_DEPTH: Final = 16


_LR: Final = part("lr", "rate", low=1e-6, high=10.0)
_BETAS: Final = (number("beta_1", 0.0, 0.9999), number("beta_2", 0.0, 0.99999), number("eps", 1e-12, 1e-2))
_RHO: Final = number("rho", 0.0, 0.9999)
_SEED: Final = whole("seed", 0, 2**32 - 1, 1)
_GLM: Final = (
    part("optimizer", "optimizer"),
    number("l1", 0.0, 10.0),
    number("l2", 0.0, 10.0),
    part("intercept_lr", "rate", low=0.0, high=10.0),
    number("intercept_init", -1e6, 1e6),
    number("clip_gradient", 1e-3, 1e12),
)
_TREE: Final = (
    whole("grace_period", 10, 100_000),
    whole("max_depth", 1, MOST_DEPTH, 10),
    number("delta", 1e-12, 0.5),
    number("tau", 0.0, 1.0),
    flag("remove_poor_attrs"),
    flag("merit_preprune"),
)
_TREE_FIXED: Final = {"max_size": 1e6, "memory_estimate_period": _NEVER, "binary_split": True}
_CLASSIFYING: Final = (
    *_TREE,
    choice("split_criterion", "gini", "info_gain", "hellinger"),
    choice("leaf_prediction", "mc", "nb", "nba"),
    whole("nb_threshold", 0, 100_000),
    number("max_share_to_split", 0.5, 1.0),
    number("min_branch_fraction", 0.0, 0.5),
    part("splitter", "splitter"),
)
_REGRESSING: Final = (
    *_TREE,
    choice("leaf_prediction", "mean", "model", "adaptive"),
    number("model_selector_decay", 0.0, 1.0),
    whole("min_samples_split", 2, 10_000),
    number("radius", 1e-3, 1e6, 0.25),
)
_ADAPTIVE: Final = (
    flag("bootstrap_sampling"),
    whole("drift_window_threshold", 10, 1_000_000),
    number("switch_significance", 1e-6, 0.5),
    part("drift_detector", "detector"),
    _SEED,
)
_FOREST: Final = (
    whole("n_models", 1, MOST_TREES, 10),
    choice("max_features", "sqrt", "log2", "all"),
    whole("lambda_value", 1, 20),
    part("drift_detector", "detector"),
    part("warning_detector", "detector"),
    flag("disable_weighted_vote"),
    _SEED,
)
_K_MEANS: Final = (
    whole("n_clusters", 2, 50),
    number("halflife", 1e-4, 1.0),
    number("sigma", 1e-3, 100.0),
    _SEED,
)


_PIPELINES: Final = Parameter("models", "pipelines", required=True)
_HALVING: Final = (_PIPELINES, whole("budget", 100, 100_000_000, 10_000), whole("eta", 2, 10))
_SPARSE: Final[Mapping[str, Any]] = {"missing": "left out", "sparse": True}


def _listed() -> tuple[Estimator, ...]:
    lm, pre = linear_model, preprocessing
    return (
        # --- what scales
        Estimator(
            "StandardScaler",
            "transformer",
            "less the mean, over the deviation",
            pre.StandardScaler,
            (flag("with_std"),),
        ),
        Estimator("MinMaxScaler", "transformer", "between the least, 0, and the largest, 1", pre.MinMaxScaler),
        Estimator("MaxAbsScaler", "transformer", "over the largest absolute value", pre.MaxAbsScaler),
        Estimator(
            "AdaptiveStandardScaler",
            "transformer",
            "like StandardScaler, where newer examples count for more",
            pre.AdaptiveStandardScaler,
            (number("fading_factor", 1e-4, 0.9999),),
        ),
        # --- linear models
        Estimator(
            "LogisticRegression",
            "classifier",
            "logistic regression, one gradient step an example",
            lm.LogisticRegression,
            (*_GLM, part("loss", "loss")),
            weighted=True,
            **_SPARSE,
        ),
        Estimator(
            "Perceptron",
            "classifier",
            "the perceptron",
            lm.Perceptron,
            (number("l2", 0.0, 10.0), number("clip_gradient", 1e-3, 1e12)),
            weighted=True,
            **_SPARSE,
        ),
        Estimator(
            "ALMAClassifier",
            "classifier",
            "approximate largest margin",
            lm.ALMAClassifier,
            (number("alpha", 0.01, 1.0), number("B", 0.01, 100.0), number("C", 0.01, 100.0)),
            **_SPARSE,
        ),
        Estimator(
            "PAClassifier",
            "classifier",
            "passive-aggressive classification",
            lm.PAClassifier,
            (number("C", 1e-4, 100.0), whole("mode", 1, 2), flag("learn_intercept")),
            **_SPARSE,
        ),
        Estimator(
            "LinearRegression",
            "regressor",
            "linear regression, one gradient step an example",
            lm.LinearRegression,
            (*_GLM, part("loss", "loss")),
            weighted=True,
            **_SPARSE,
        ),
        Estimator(
            "PARegressor",
            "regressor",
            "passive-aggressive regression",
            lm.PARegressor,
            (number("C", 1e-4, 100.0), whole("mode", 1, 2), number("eps", 0.0, 1e6), flag("learn_intercept")),
            **_SPARSE,
        ),
        # --- trees and forests
        Estimator(
            "HoeffdingTreeClassifier",
            "classifier",
            "a decision tree that splits once it is sure enough",
            tree.HoeffdingTreeClassifier,
            _CLASSIFYING,
            missing="left out",
            weighted=True,
            fixed=_TREE_FIXED,
        ),
        Estimator(
            "HoeffdingAdaptiveTreeClassifier",
            "classifier",
            "a Hoeffding tree that replaces branches that have become worse",
            tree.HoeffdingAdaptiveTreeClassifier,
            (*_CLASSIFYING, *_ADAPTIVE),
            missing="left out",
            weighted=True,
            fixed=_TREE_FIXED,
        ),
        Estimator(
            "HoeffdingTreeRegressor",
            "regressor",
            "a decision tree for numbers that splits once it is sure enough",
            regression_tree_of(tree.HoeffdingTreeRegressor),
            _REGRESSING,
            weighted=True,
            fixed=_TREE_FIXED,
        ),
        Estimator(
            "HoeffdingAdaptiveTreeRegressor",
            "regressor",
            "a Hoeffding tree for numbers that replaces branches that have become worse",
            regression_tree_of(tree.HoeffdingAdaptiveTreeRegressor),
            (*_REGRESSING, *_ADAPTIVE),
            weighted=True,
            fixed=_TREE_FIXED,
        ),
        Estimator(
            "ARFClassifier",
            "classifier",
            "an adaptive random forest",
            forest_of(forest.ARFClassifier),
            (*_CLASSIFYING, *_FOREST),
            nested=False,
            fixed=_TREE_FIXED,
        ),
        Estimator(
            "ARFRegressor",
            "regressor",
            "an adaptive random forest for numbers",
            forest_of(regression_tree_of(forest.ARFRegressor)),
            (*_REGRESSING, *_FOREST, choice("aggregation_method", "mean", "median")),
            nested=False,
            fixed=_TREE_FIXED,
        ),
        # --- others that foretell
        Estimator("GaussianNB", "classifier", "naive Bayes with a bell curve for each feature", naive_bayes.GaussianNB),
        Estimator(
            "KNNClassifier",
            "classifier",
            "the nearest of the newest examples",
            neighbours_of(neighbors.KNNClassifier),
            (whole("n_neighbors", 1, 100), whole("window_size", 10, 2_000, 500), flag("weighted")),
            nested=False,
        ),
        Estimator(
            "KNNRegressor",
            "regressor",
            "the mean of the nearest of the newest examples",
            neighbours_of(neighbors.KNNRegressor),
            (
                whole("n_neighbors", 1, 100),
                whole("window_size", 10, 2_000, 500),
                choice("aggregation_method", "mean", "median", "weighted_mean"),
            ),
            nested=False,
        ),
        # --- choosing among pipelines while they learn
        # Not by bandits: those of River 0.23 choose the pipeline whose loss is the largest.
        Estimator(
            "SuccessiveHalvingClassifier",
            "classifier",
            "the pipeline with the least log loss; the worse half stops learning, step by step",
            choosing_of(model_selection.SuccessiveHalvingClassifier, metrics.LogLoss),
            _HALVING,
            nested=False,
        ),
        Estimator(
            "SuccessiveHalvingRegressor",
            "regressor",
            "the pipeline with the least mean absolute error; the worse half stops learning, step by step",
            choosing_of(model_selection.SuccessiveHalvingRegressor, metrics.MAE),
            _HALVING,
            nested=False,
        ),
        Estimator(
            "GreedyRegressor",
            "regressor",
            "the pipeline with the least mean absolute error; all go on learning",
            choosing_of(model_selection.GreedyRegressor, metrics.MAE),
            (_PIPELINES,),
            nested=False,
        ),
        # --- clusters and outliers
        Estimator("KMeans", "clusterer", "k-means, one step an example", cluster.KMeans, _K_MEANS),
        Estimator(
            "STREAMKMeans",
            "clusterer",
            "k-means over chunks",
            cluster.STREAMKMeans,
            (whole("chunk_size", 2, 1_000), *_K_MEANS),
        ),
        Estimator(
            "DBSTREAM",
            "clusterer",
            "clusters of any shape, of which those nobody falls into fade",
            cluster.DBSTREAM,
            (
                number("clustering_threshold", 0.05, 1e6),
                number("fading_factor", 1e-4, 1.0),
                whole("cleanup_interval", 1, 10_000),
                number("intersection_factor", 0.01, 1.0),
                number("minimum_weight", 0.0, 1e6),
            ),
            settle=lambda made: made.n_clusters,
        ),
        Estimator(
            "HalfSpaceTrees",
            "anomaly",
            "how alone somebody is, between 0 and 1; wants numbers between 0 and 1",
            anomaly.HalfSpaceTrees,
            (
                whole("n_trees", 1, MOST_TREES),
                whole("height", 1, 12),
                whole("window_size", 10, 100_000),
                _SEED,
            ),
        ),
        # --- parts of the above
        Estimator("SGD", "optimizer", "plain gradient descent", optim.SGD, (_LR,)),
        Estimator("Adam", "optimizer", "Adam", optim.Adam, (_LR, *_BETAS)),
        Estimator("AMSGrad", "optimizer", "AMSGrad", optim.AMSGrad, (_LR, *_BETAS)),
        Estimator("AdaGrad", "optimizer", "AdaGrad", optim.AdaGrad, (_LR, number("eps", 1e-12, 1e-2))),
        Estimator("AdaDelta", "optimizer", "AdaDelta", optim.AdaDelta, (_RHO, number("eps", 1e-12, 1e-2))),
        Estimator("RMSProp", "optimizer", "RMSProp", optim.RMSProp, (_LR, _RHO, number("eps", 1e-12, 1e-2))),
        Estimator("Momentum", "optimizer", "gradient descent with momentum", optim.Momentum, (_LR, _RHO)),
        Estimator(
            "FTRLProximal",
            "optimizer",
            "follow the regularised leader",
            optim.FTRLProximal,
            (
                number("alpha", 1e-6, 10.0),
                number("beta", 0.0, 100.0),
                number("l1", 0.0, 10.0),
                number("l2", 0.0, 10.0),
            ),
        ),
        Estimator(
            "InverseScaling",
            "rate",
            "a rate that falls with a power of the number of examples",
            optim.schedulers.InverseScaling,
            (Parameter("learning_rate", "number", 1e-6, 10.0, required=True), number("power", 0.01, 2.0)),
        ),
        Estimator(
            "Log",
            "loss",
            "log loss, where each class may weigh differently",
            optim.losses.Log,
            (number("weight_pos", 0.001, 1000.0), number("weight_neg", 0.001, 1000.0)),
        ),
        Estimator("Squared", "loss", "squared error", optim.losses.Squared),
        Estimator(
            "Huber",
            "loss",
            "squared error, but for large ones the absolute",
            optim.losses.Huber,
            (number("epsilon", 1e-6, 1e6),),
        ),
        Estimator(
            "Quantile",
            "loss",
            "the pinball loss of a quantile",
            optim.losses.Quantile,
            (number("alpha", 0.001, 0.999),),
        ),
        Estimator(
            "GaussianSplitter",
            "splitter",
            "a bell curve for each class",
            tree.splitter.GaussianSplitter,
            (whole("n_splits", 2, 100),),
        ),
        Estimator(
            "HistogramSplitter",
            "splitter",
            "a histogram for each class",
            tree.splitter.HistogramSplitter,
            (whole("n_bins", 8, 1_024), whole("n_splits", 2, 256)),
        ),
        Estimator(
            "ADWIN",
            "detector",
            "a window that shrinks when the mean has changed",
            drift.ADWIN,
            (number("delta", 1e-6, 0.5), whole("clock", 1, 10_000), whole("grace_period", 1, 10_000)),
        ),
        Estimator(
            "PageHinkley",
            "detector",
            "the test of Page and Hinkley",
            drift.PageHinkley,
            (whole("min_instances", 1, 100_000), number("delta", 0.0, 10.0), number("threshold", 0.01, 1e6)),
        ),
        Estimator("NoDrift", "detector", "looks for nothing", drift.NoDrift),
    )


ESTIMATORS: Final[dict[str, Estimator]] = {each.name: each for each in _listed()}
"""All there are, by name."""

FINAL_ROLE: Final = {
    "classification": "classifier",
    "regression": "regressor",
    "clustering": "clusterer",
    "anomaly": "anomaly",
}
"""The role of the last step of a pipeline, by task."""


def of_role(*roles: str) -> list[str]:
    """The names of the estimators of these roles."""
    return [name for name, each in ESTIMATORS.items() if each.role in roles]
