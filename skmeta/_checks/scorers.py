"""Who calls: a scorer or search of scikit-learn that would score the learned start."""

import sys

# Frames of these modules ask for a zero-shot score on purpose.
_OWN_SCORING = ("skmeta._evaluation", "skmeta.model_selection")
_VALIDATION = "sklearn.model_selection._validation"
_DEPTH = 40  # frames between `predict` and a scorer, through compositions and joblib


def scored_on_purpose():
    """Whether this package's own scoring, which may be zero-shot, is a caller.

    A search in between is another's scoring, even if it is fitted for a comparison.
    """
    for module, _ in _package_callers():
        if module in _OWN_SCORING:
            return True
        if module == _VALIDATION:
            return False
    return False


def called_by_scorer(model):
    """What scikit-learn wants with `predict`: "score", "predict", or None.

    "score" is a scorer's or search's call, "predict" that of `cross_val_predict`. None
    of them offers a hook that says who calls, and all would silently take the start
    that was learned for the adapted model. A model that is asked from inside another
    estimator or metric, of which it is no part, is not what is scored.
    """
    found = None
    for module, frame in _package_callers():
        name = frame.f_code.co_name
        if module in _OWN_SCORING or (module == "skmeta._mixins" and name == "score"):
            return None  # the latter has warned already
        if found == "predict" and name == "cross_val_predict":
            return None if _is_part_of_an_estimator(frame) else found
        use = _use_of(module, name)
        if use is None or "estimator" not in frame.f_locals:
            continue
        if found is None and not _holds(frame.f_locals["estimator"], model):
            return None
        found = use
        if not module.startswith("sklearn.metrics.") and use == "score":
            return found
    return found


def groups_stay_above():
    """Whether groups were given to a search or validation, and reach its splitter only.

    Another model of this package in between fits what it wants to.
    """
    for module, frame in _package_callers():
        if module.startswith("skmeta.") and frame.f_code.co_name not in _FIT_ITSELF:
            return False
        if module == _VALIDATION or module == "sklearn.model_selection._search":
            given = frame.f_locals
            if "groups" not in given:
                given = given.get("params")
            if isinstance(given, dict) and given.get("groups") is not None:
                return True
    return False


_FIT_ITSELF = ("fit", "checked")  # and the decorator that stands around it


def _use_of(module, name):
    """What a function of scikit-learn wants of the estimator that it is given."""
    if module == _VALIDATION and name == "_fit_and_predict":
        return "predict"
    if module == _VALIDATION and name in ("_score", "_permutation_test_score"):
        return "score"
    if module == "sklearn.inspection._permutation_importance":
        return "score"
    return "score" if module.startswith("sklearn.metrics.") else None  # and displays


def _holds(estimator, model):
    """Whether a model is an estimator, or stands somewhere inside it."""
    seen, waiting = set(), [estimator]
    while waiting:
        part = waiting.pop()
        if part is model:
            return True
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, (list, tuple)):
            waiting.extend(part)
        elif isinstance(part, dict):
            waiting.extend(part.values())
        elif hasattr(type(part), "fit"):
            waiting.extend(getattr(part, "__dict__", {}).values())
    return False


def _is_part_of_an_estimator(frame):
    """Whether `cross_val_predict` serves another estimator, such as a stack of models.

    That learns from predictions for new tasks, and will be given such predictions.
    """
    module = "sklearn.utils._param_validation"  # stands around every function
    while module == "sklearn.utils._param_validation":
        frame = frame.f_back
        module = "" if frame is None else frame.f_globals.get("__name__", "")
    return module.startswith("sklearn.")


def _package_callers():
    """Module and frame of the callers in scikit-learn and skmeta, the nearest first."""
    frame = sys._getframe(2)
    for _ in range(_DEPTH):
        if frame is None:
            return
        module = frame.f_globals.get("__name__", "")
        if module.startswith(("sklearn.", "skmeta.")):
            yield module, frame
        frame = frame.f_back
