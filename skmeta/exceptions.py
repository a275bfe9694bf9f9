"""Warnings that skmeta gives."""

__all__ = ["InconsistentVersionWarning", "ZeroShotWarning"]


class ZeroShotWarning(UserWarning):
    """A meta-learner is scored, or cross-predicted, as adapted to no task.

    An ordinary scorer, :func:`~sklearn.model_selection.cross_val_predict` and their kin
    use the learned start. ``make_few_shot_scorer`` and ``adapt_predict`` adapt first.
    """


class InconsistentVersionWarning(UserWarning):
    """A model was saved by another version of skmeta."""
