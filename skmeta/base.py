"""What a meta-learner of your own inherits from."""

from skmeta._base import BaseMetaLearner
from skmeta._mixins import MetaClassifierMixin, MetaRegressorMixin

__all__ = ["BaseMetaLearner", "MetaClassifierMixin", "MetaRegressorMixin"]
