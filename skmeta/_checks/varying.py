"""The parameter ``varying``: which columns have effects of each task's own."""

from numbers import Integral

import numpy as np


def varying_columns(varying, n_features, names=None, preprocessed=False):
    """A mask (n_features,) of the columns that ``varying`` names.

    Parameters
    ----------
    varying : array-like
        Names of columns, their numbers, or a mask.
    n_features : int
    names : sequence of str or None
        Names of the columns, if they have any.
    preprocessed : bool
        Whether these are the columns that ``linear_preprocessor`` makes of X.
    """
    chosen = list(varying)
    if all(isinstance(one, (bool, np.bool_)) for one in chosen) and chosen:
        return _of_mask(chosen, n_features)
    mask = np.zeros(n_features, dtype=bool)
    if all(isinstance(one, str) for one in chosen):
        mask[_of_names(chosen, names, preprocessed)] = True
    elif all(
        isinstance(one, Integral) and not isinstance(one, (bool, np.bool_))
        for one in chosen
    ):
        mask[_of_numbers(chosen, n_features)] = True
    else:
        raise ValueError(
            "varying must list names of columns, their numbers, or one bool per "
            f"column, all of one kind; got {_shown(chosen)}."
        )
    return mask


def _of_mask(chosen, n_features):
    if len(chosen) != n_features:
        raise ValueError(
            f"varying is a mask of {len(chosen)} columns, but X has {n_features}. Pass "
            "one bool for each column of X, or the names or numbers of those that vary."
        )
    return np.array(chosen, dtype=bool)


def _of_names(chosen, names, preprocessed):
    if not chosen:
        return np.zeros(0, dtype=int)
    if names is None and preprocessed:
        raise ValueError(
            f"varying={_shown(chosen)} are names, and they must be those of the "
            "columns that linear_preprocessor makes of X, which has no "
            "get_feature_names_out that tells them. Give the numbers of its columns."
        )
    if names is None:
        raise ValueError(
            f"varying={_shown(chosen)} are names, but X has no names of columns. Pass "
            "a DataFrame to fit (behind a transformer: set_output(transform='pandas')),"
            " or give the numbers of the columns."
        )
    place = {name: number for number, name in enumerate(names)}
    for name in chosen:
        if name not in place and preprocessed:
            raise ValueError(
                f"varying has the name {name!r}, which is no column that "
                "linear_preprocessor makes of X. With a preprocessor the names are "
                f"those after it: {_shown(names, 40)}. (A ColumnTransformer with "
                "verbose_feature_names_out=False puts no prefix before them.)"
            )
        if name not in place:
            raise ValueError(
                f"varying has the name {name!r}, which is no column of X. The columns "
                f"are {_shown(names)}."
            )
    return [place[name] for name in chosen]


def _of_numbers(chosen, n_features):
    for number in chosen:
        if not 0 <= number < n_features:
            raise ValueError(
                f"varying has the column {number}, but X has {n_features} columns. "
                f"Numbers of columns go from 0 to {n_features - 1}."
            )
    return [int(number) for number in chosen]


def _shown(values, most=8):
    """A list as text, cut after some of its members."""
    values = [str(one) if isinstance(one, str) else one for one in values]
    if len(values) <= most:
        return repr(values)
    return f"{repr(values[:most])[:-1]}, ... ({len(values)} in all)]"


def check_something_varies(model, varying, parameter):
    """Refuse columns (d,) of which none varies, if there is no intercept either.

    ``parameter`` is the name of the parameter that gives an intercept.
    """
    if not (varying.any() or getattr(model, parameter)):
        raise ValueError(
            f"No column varies, and {parameter}=False leaves no intercept either: "
            f"nothing could differ between tasks; got varying={model.varying!r}. Set "
            f"{parameter}=True, or let some columns vary."
        )
