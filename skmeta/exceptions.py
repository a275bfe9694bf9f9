"""Warnings that skmeta gives."""

__all__ = ["InconsistentVersionWarning", "ZeroShotWarning"]


class ZeroShotWarning(UserWarning):
    """A meta-learner that is not adapted to any task is scored or cross-predicted.

    Ordinary scorers, :func:`~sklearn.model_selection.cross_val_predict` and similar
    functions use the learned start. ``make_few_shot_scorer`` and ``adapt_predict``
    adapt first.
    """


class InconsistentVersionWarning(UserWarning):
    """A model that another version of skmeta saved is loaded."""
