"""Find out whether a scorer or search calls, which would score the learned start.

This package says what it does itself. scikit-learn does not, so its functions are
looked for among the callers, by their names.
"""

import sys
from contextvars import ContextVar

from skmeta._checks.block import holding
from skmeta._warn import warn_once_per_search

_VALIDATION = "sklearn.model_selection._validation"
# There are at most this many frames between `predict` and a scorer, through
# compositions and joblib.
_DEPTH = 40


_scoring = ContextVar("scoring_on_purpose", default=False)
_fitting = ContextVar("fitting_another_model", default=False)


def scoring_on_purpose():
    """Within this block this package scores, and a zero-shot score is no mistake."""
    return holding(_scoring)


def scored_on_purpose():
    """Whether this package itself asks for the score."""
    return _scoring.get()


def fitting_another_model():
    """Within this block a model of this package fits another, and decides on what."""
    return holding(_fitting)


def called_by_scorer(model):
    """What scikit-learn uses `predict` for: "score", "threshold", "predict", or None.

    "score" is the call of a scorer or search, "threshold" that of a
    `TunedThresholdClassifierCV` in its `fit`, "predict" that of `cross_val_predict`.
    None of them has a hook that says who calls, and all would silently take the learned
    start for the adapted model. If another estimator or metric calls a model that is
    not a part of what is scored, that does not count.
    """
    if scored_on_purpose():
        return None
    found = None
    for module, frame in _callers_in_sklearn():
        name = frame.f_code.co_name
        if found == "predict" and name == "cross_val_predict":
            return None if _is_part_of_an_estimator(frame) else found
        if found == "score" and name == "_fit_and_score_over_thresholds":
            return "threshold"
        use = _use_of(module, name)
        if use is None or "estimator" not in frame.f_locals:
            continue
        if found is None and not _holds(frame.f_locals["estimator"], model):
            return None
        found = use
        if not module.startswith("sklearn.metrics.") and use == "score":
            return found
    return found


def warn_of_groups_above(model):
    """Warn if groups were given that a model of all rows as one task does not get."""
    if groups_stay_above():
        warn_once_per_search(_GROUPS.format(model))


def groups_stay_above():
    """Whether groups were given to a search or validation and reach only its splitter.

    They do not concern a model that another model of this package fits.
    """
    if _fitting.get():
        return False
    for module, frame in _callers_in_sklearn():
        if module == _VALIDATION or module == "sklearn.model_selection._search":
            given = frame.f_locals
            if "groups" not in given:
                given = given.get("params")
            if isinstance(given, dict) and given.get("groups") is not None:
                return True
    return False


def fitted_to_transformed_targets():
    """Whether a TransformedTargetRegressor fits the model, or what holds it."""
    return any(
        module == "sklearn.compose._target" and frame.f_code.co_name == "fit"
        for module, frame in _callers_in_sklearn()
    )


def _use_of(module, name):
    """What a function of scikit-learn does with the estimator that it gets."""
    if module == _VALIDATION and name == "_fit_and_predict":
        return "predict"
    if module == _VALIDATION and name in ("_score", "_permutation_test_score"):
        return "score"
    if module == "sklearn.inspection._permutation_importance":
        return "score"
    return "score" if module.startswith("sklearn.metrics.") else None  # and displays


def _holds(estimator, model):
    """Whether a model is an estimator, or is somewhere inside it."""
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

    Such an estimator learns from predictions for new tasks, and will get such
    predictions.
    """
    module = "sklearn.utils._param_validation"  # this is around every function
    while module == "sklearn.utils._param_validation":
        frame = frame.f_back
        module = "" if frame is None else frame.f_globals.get("__name__", "")
    return module.startswith("sklearn.")


def _callers_in_sklearn():
    """Module and frame of the callers in scikit-learn, the nearest first."""
    frame = sys._getframe(2)
    for _ in range(_DEPTH):
        if frame is None:
            return
        module = frame.f_globals.get("__name__", "")
        if module.startswith("sklearn."):
            yield module, frame
        frame = frame.f_back


_GROUPS = (
    "groups= reached the splitter alone, and {0.__class__.__name__} was fitted to all "
    "rows as one task. If the groups are its tasks, switch routing on, "
    "sklearn.set_config(enable_metadata_routing=True), pass task= to fit of a search "
    "or params={{'task': ...}} to cross_validate, and split by "
    "GroupKFold().set_split_request(groups='task')."
)
