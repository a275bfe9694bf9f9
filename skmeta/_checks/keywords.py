"""Ids of tasks under a keyword that a verb does not have."""

import inspect
from functools import wraps


def with_hint_to_task(verb):
    """Decorator of a verb: explains ids under a name that the verb does not have."""
    known = inspect.signature(verb).parameters

    @wraps(verb)
    def checked(self, *args, **kwargs):
        for name in ("groups", "group", "task"):
            if name in kwargs and name not in known:
                where = f"{type(self).__name__}.{verb.__name__}"
                remedy = _NO_IDS.get(verb.__name__, "Pass the ids as task=ids.")
                if "task" not in known and verb.__name__ == "fit":
                    remedy = _NO_IDS["adapt"]
                raise TypeError(f"{where} has no argument {name!r}. {remedy}")
        return verb(self, *args, **kwargs)

    return checked


_ONE_TASK = (
    "It takes the rows of one task, and so no ids. For many tasks at once call "
    "adapt_predict(X, y, X_new, task=ids, task_new=ids_new) of the meta-learner."
)
_NO_IDS = {
    "adapt": _ONE_TASK,
    "partial_adapt": _ONE_TASK,
    "meta_fit": "Each member of tasks is one task; for flat data call fit(X, y, "
    "task=ids).",
}
