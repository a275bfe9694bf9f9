"""Ids of tasks, or a flat table, that a verb does not take."""

import inspect
from functools import wraps

from sklearn.utils.validation import has_fit_parameter


def with_hint_to_task(verb):
    """Decorator of a verb: explains ids, and flat data, that the verb does not take."""
    known = inspect.signature(verb).parameters

    @wraps(verb)
    def checked(self, *args, **kwargs):
        where = f"{type(self).__name__}.{verb.__name__}"
        _explain(where, verb.__name__, known, kwargs)
        if len(args) > 1 and list(known)[1:] == ["tasks"]:
            raise TypeError(
                f"{where} takes one argument, the tasks, and got {len(args)}. "
                f"{_NO_IDS['meta_fit']}"
            )
        return verb(self, *args, **kwargs)

    return checked


def with_hint_to_many(function):
    """The same for a function whose first argument is the estimator."""
    known = inspect.signature(function).parameters

    @wraps(function)
    def checked(*args, **kwargs):
        _explain(function.__name__, function.__name__, known, kwargs)
        return function(*args, **kwargs)

    return checked


def _explain(where, verb, known, given):
    """Raise an error if ``given`` are ids under a name that is not ``known``."""
    for name in ("groups", "group", "task"):
        if name in given and name not in known:
            here = "Pass the ids as task=ids."
            remedy = here if "task" in known else _NO_IDS.get(verb, here)
            raise TypeError(f"{where} has no argument {name!r}. {remedy}")


_ONE_TASK = (
    "It takes the rows of one task, and so no ids. For many tasks at once call "
    "skmeta.adapt_predict(model, X, y, X_new, task=ids, task_new=ids_new), or keep the "
    "state of each task in a skmeta.TaskBank."
)
_KNOWS_NONE = (
    "It keeps nothing of the tasks of fit, as the EmpiricalBayes models do. "
    "Give it the known rows again: adapt_predict(X, y, X_new, task=ids, "
    "task_new=ids_new); or put a skmeta.TaskBank over it, which keeps them."
)
_NO_IDS = {
    "predict": _KNOWS_NONE,
    "predict_proba": _KNOWS_NONE,
    "decision_function": _KNOWS_NONE,
    "adapt": _ONE_TASK,
    "fit": _ONE_TASK,
    "partial_adapt": _ONE_TASK,
    "meta_fit": "Each member of tasks is one task; for flat data call fit(X, y, "
    "task=ids).",
    "partial_meta_fit": "Each member of tasks is one task: pass a dict {id: (X, y)}. "
    "Flat data go into fit(X, y, task=ids).",
}


def check_takes_weights(model):
    """Refuse sample weights of a model that meta-trains without."""
    if not has_fit_parameter(model, "sample_weight"):
        raise ValueError(
            f"{type(model).__name__} meta-trains on rows of equal weight. Leave the "
            "sample weights out. adapt takes weights."
        )
