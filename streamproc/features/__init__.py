"""Features: what a pipeline declares, and how it is computed."""

from streamproc.features.compute import FeatureSet
from streamproc.features.spec import AGGREGATES, Calendar, Feature, Field, LabelWindow, Window

__all__ = ["AGGREGATES", "Calendar", "Feature", "FeatureSet", "Field", "LabelWindow", "Window"]
