"""One way to warn: the warning names the line of the user's own code."""

import sys
import warnings
from weakref import WeakKeyDictionary

PACKAGES_BETWEEN = (
    *("skmeta", "sklearn", "joblib", "skops", "threadpoolctl"),
    *("functools", "contextlib", "pickle"),
)


def warn(message, category=UserWarning):
    """Warn at the first caller that is neither skmeta nor what skmeta is called by.

    A counted ``stacklevel`` would be right for one way of calling only: ``fit`` may be
    reached directly, through ``meta_fit``, or from a Pipeline in a search.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_between(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_between(frame):
    name = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in PACKAGES_BETWEEN


def warn_once_per_search(message, category=UserWarning):
    """Warn once in each `fit` of a search, of which every candidate would say it.

    Python's own "once per place" does not help: scikit-learn enters a context of
    warnings for each candidate, which makes Python forget what it has said. In jobs of
    other processes or threads the search is out of sight, and all of them warn.
    """
    search = _search_above()
    if search is not None:
        if search in _SAID and category in _SAID[search]:
            return
        _SAID.setdefault(search, set()).add(category)
        message += " A search says this once, for the first tasks that it concerns."
    warn(message, category)


# What was said, by a local function of a search's `fit`, which lives as long as that.
_SAID = WeakKeyDictionary()


def _search_above():
    frame = sys._getframe(2)
    while frame is not None:
        if (
            frame.f_code.co_name == "fit"
            and frame.f_globals.get("__name__") == "sklearn.model_selection._search"
        ):
            return frame.f_locals.get("evaluate_candidates")
        frame = frame.f_back
    return None
