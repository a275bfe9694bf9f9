"""Warnings that skmeta gives."""

__all__ = ["InconsistentVersionWarning", "RowOrderWarning", "ZeroShotWarning"]


class ZeroShotWarning(UserWarning):
    """A meta-learner that is not adapted to any task is scored or cross-predicted.

    Ordinary scorers, :func:`~sklearn.model_selection.cross_val_predict` and similar
    functions use the learned start. ``make_few_shot_scorer`` and ``adapt_predict``
    adapt first.
    """


class InconsistentVersionWarning(UserWarning):
    """A model that another version of skmeta saved is loaded."""


class RowOrderWarning(UserWarning):
    """A column rises within nearly all tasks, and rows are drawn at random.

    The rows look as if they were in order of time. If earlier rows will be given and
    later ones predicted, set ``row_order="time"``. If not, ignore this warning:
    ``warnings.simplefilter("ignore", RowOrderWarning)``. It also warns of a column that
    falls, as if the newest rows of a task came first; and of a model of rows in time
    that has a ``base_estimator``, which is judged on other tasks at the same times.
    """
