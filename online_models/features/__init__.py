"""The one vocabulary of features: computed from the profile that the job keeps, for scoring, learning, history and rules alike.

A feature is an exact function of a profile's slots and traits and of a clock. There is one place that computes it, so that a model is
asked about the very numbers that it has learnt from.
"""

from online_models.features.feature_set import FeatureSet, joint_reading
from online_models.features.kind import Column, FeatureKind
from online_models.features.vocabulary import KINDS, read_feature

__all__ = ["KINDS", "Column", "FeatureKind", "FeatureSet", "joint_reading", "read_feature"]
