"""One way to warn: the warning names the line of the user's own code."""

import sys
import warnings

PACKAGES_BETWEEN = ("skmeta", "sklearn", "joblib", "threadpoolctl", "functools")


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
