"""Parameters whose constraints scikit-learn cannot state, or does not check in time."""

from functools import lru_cache
from numbers import Integral, Real

from sklearn.utils._param_validation import validate_parameter_constraints


def check_hidden_layer_sizes(sizes):
    """The units of each hidden layer as a list of int."""
    hidden = [sizes] if isinstance(sizes, Integral) else list(sizes)
    if not all(isinstance(n, Integral) and n >= 1 for n in hidden):
        raise ValueError(
            "hidden_layer_sizes must be positive whole numbers of units; got "
            f"{sizes!r}."
        )
    return [int(n) for n in hidden]


def check_range(name, value, *, least=1, unit="rows", optional=False):
    """Refuse a pair that is not a range (low, high) of whole numbers >= ``least``."""
    if not isinstance(value, tuple):
        return
    whole = all(isinstance(n, Integral) for n in value)
    if not whole or len(value) != 2 or not least <= value[0] <= value[1]:
        raise ValueError(
            f"{name} must be {'None, ' if optional else ''}a number of {unit}, or a "
            f"range (low, high) with {least} <= low <= high; got {value}."
        )


def check_again(model, *names):
    """Check parameters that may have been set since `fit`, and are read now."""
    values = [getattr(model, name) for name in names]
    try:
        _check_once(type(model), names, *values)
    except TypeError:  # a list, say, which no cache can hold
        _check_once.__wrapped__(type(model), names, *values)


# The cache is typed, since 1 and True are equal, and only one of them is a number of
# steps.
@lru_cache(typed=True)
def _check_once(cls, names, *values):
    constraints = {name: cls._parameter_constraints[name] for name in names}
    given = dict(zip(names, values, strict=True))
    validate_parameter_constraints(constraints, given, caller_name=cls.__name__)


def check_coverage(coverage):
    """Refuse a share of new rows that is none."""
    if not isinstance(coverage, Real) or not 0 < coverage < 1:
        raise ValueError(
            "coverage must be a number between 0 and 1, the share of new rows that "
            f"the intervals are to hold; got {coverage!r}."
        )


def check_structure(prior, fit_intercept, n_outputs):
    """Refuse a structure of the prior that these tasks cannot have."""
    if prior == "intercept" and not fit_intercept:
        raise ValueError(
            "prior='intercept' lets only the intercept differ between tasks, but "
            "fit_intercept=False leaves none. Set fit_intercept=True, or choose "
            "another prior."
        )
    if prior == "kronecker" and n_outputs == 1:
        raise ValueError(
            "prior='kronecker' is about classes that differ in their spread, and needs "
            "more than two classes; there are two here, or none. Set prior='diagonal', "
            "or another one."
        )
