"""Functions that warn so that the warning names the line of the user's own code."""

import sys
import warnings
from weakref import WeakKeyDictionary

PACKAGES_BETWEEN = (
    *("skmeta", "sklearn", "joblib", "skops", "threadpoolctl"),
    *("functools", "contextlib", "pickle"),
)


def warn(message, category=UserWarning):
    """Warn at the first caller outside skmeta and the packages that call skmeta.

    A counted ``stacklevel`` would be right for only one way of calling: the user may
    call ``fit`` directly, through ``meta_fit``, or from a Pipeline in a search.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_between(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_between(frame):
    name = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in PACKAGES_BETWEEN


def warn_once_per_search(message, category=UserWarning):
    """Warn only once in each `fit` of a search, although each candidate would warn.

    Python's own "once per place" does not help, because scikit-learn enters a new
    warnings context for each candidate, and Python then forgets which warnings it has
    shown. Jobs in other processes or threads cannot see the search, so each of them
    warns.
    """
    search = _search_above()
    if search is not None:
        if search in _SAID and category in _SAID[search]:
            return
        _SAID.setdefault(search, set()).add(category)
        message += " A search says this once, for the first tasks that it concerns."
    warn(message, category)


# The categories that a search has already warned about. The key is a local function of
# its `fit`, which lives exactly as long as `fit` runs.
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
