"""Fitted state: copies that share arrays, and attributes put back after an error."""

from contextlib import ExitStack, contextmanager
from copy import copy, deepcopy

import numpy as np

from skmeta._base_model import cloned

# These fitted attributes, which are no parameters, may hold a meta-learner.
ON_THE_WAY = ("regressor_", "best_estimator_")
# scikit-learn sets these for the time of a fit, tells callbacks of the end of the fit
# with them, whether it failed or not, and then removes them itself.
OF_CALLBACKS = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")


def shallow_copy(estimator):
    """A copy that can be fitted and set without the original noticing.

    Fitted arrays are shared, since fitting makes new ones. Estimators inside are copied
    likewise: a Pipeline fits its steps themselves, and ``set_params`` reaches them.
    """
    if not hasattr(estimator, "get_params") or isinstance(estimator, type):
        return estimator  # "passthrough", None, a function
    fresh = copy(estimator)
    for name, value in vars(estimator).items():
        vars(fresh)[name] = _own_part(name, value)
    return fresh


def _own_part(name, value):
    if type(value) is list:  # steps, as (name, estimator) or (name, estimator, columns)
        return [
            tuple(map(shallow_copy, item)) if type(item) is tuple else item
            for item in value
        ]
    if name.endswith("_") and name not in ON_THE_WAY:
        return value
    return value.copy() if type(value) is dict else shallow_copy(value)


def own_what_can_change(model):
    """Give a meta-learner's copy parameters and public arrays of its own.

    What the core has learned stays shared: nobody writes into it.
    """
    own = vars(model)
    for name, value in own.items():
        kind = type(value)
        if kind is list or kind is dict or (kind is np.ndarray and name[0] != "_"):
            own[name] = value.copy()
        elif kind is np.random.RandomState:
            own[name] = deepcopy(value)
    for name in model._parameters_to_clone:
        if own.get(name) is not None:
            own[name] = cloned(own[name])  # it may be "auto"


def set_or_remove(estimator, **values):
    """Set attributes of an estimator; those that are None are removed instead."""
    for name, value in values.items():
        if value is None:
            vars(estimator).pop(name, None)
        else:
            setattr(estimator, name, value)


@contextmanager
def restored_on_error(estimator):
    """Leave an estimator's attributes as they were if the block fails.

    This is enough, because an estimator sets new arrays and never writes into old ones.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        now = vars(estimator)
        for name in now.keys() - before.keys() - {*OF_CALLBACKS}:
            del now[name]
        now.update(before)  # never empty: another thread may be predicting
        raise


@contextmanager
def all_restored_on_error(*estimators):
    """The same for estimators and those that their parameters hold.

    A Pipeline fits its steps themselves, one after the other.
    """
    parts = {
        id(part): part
        for estimator in estimators
        for part in (estimator, *getattr(estimator, "get_params", dict)().values())
        if hasattr(part, "get_params") and not isinstance(part, type)
    }
    with ExitStack() as stack:
        for part in parts.values():
            stack.enter_context(restored_on_error(part))
        yield
