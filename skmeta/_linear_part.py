"""Two views of the user's rows: numbers for the linear part, a table for the base."""

from contextlib import contextmanager

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import _check_y, validate_data

from skmeta._base_model import (
    explaining_missing,
    naming_base,
    said_by_base,
    seeded,
)
from skmeta._checks.values import plain_table
from skmeta._tables import (
    Source,
    answered,
    as_table,
    columns_of,
    numbers_of,
    with_source,
)

NO_Y = "no_validation"  # what `validate_data` calls rows without targets


def read_rows(model, X, y=NO_Y, *, reset, dtype, y_numeric=False):
    """Validated numbers for the linear part, the table that they come from, and y.

    Parameters
    ----------
    model : BaseMetaLearner
        Gets ``linear_preprocessor_`` if there is one to be fitted.
    X : what the user gave
    y : what the user gave, checked by the rules of the targets
    reset : bool
        Whether `fit` learns the columns.
    dtype : dtype or list of dtype
        Of the numbers.
    y_numeric : bool

    Returns
    -------
    numbers : ndarray or CSR matrix of shape (n_rows, n_linear)
    table : DataFrame, ndarray, CSR matrix or None
        None says that the numbers are all there is.
    y : ndarray of shape (n_rows,), or `NO_Y`
    """
    order = "C" if reset else None  # gives the same sums for any layout
    how = {"accept_sparse": "csr", "dtype": dtype, "order": order}
    if preprocesses(model, reset):
        return _preprocessed(model, X, y, reset, how, y_numeric)
    if reset:
        vars(model).pop("linear_preprocessor_", None)
    targets = {} if isinstance(y, str) else {"y_numeric": y_numeric}
    with explaining_missing(model, X):
        found = validate_data(model, plain_table(X), y, reset=reset, **how, **targets)
    numbers, y = (found, y) if isinstance(y, str) else found
    table = None if columns_of(X) is None else _with_numbers(X, numbers)
    return numbers, table, y


def preprocesses(model, reset=False):
    """Whether a preprocessor makes the numbers; ``reset`` says that `fit` begins."""
    if reset:
        return model._parameter("linear_preprocessor") is not None
    return hasattr(model, "linear_preprocessor_")


def _with_numbers(table, numbers):
    """A DataFrame whose columns of objects, which all are numbers, hold floats."""
    if not hasattr(table, "isetitem"):
        return table
    plain = table
    for j, dtype in enumerate(table.dtypes):
        if getattr(dtype, "kind", "") == "O":
            plain = table.copy(deep=False) if plain is table else plain
            plain.isetitem(j, numbers[:, j])
    return plain


def with_table(model, numbers, table, reset):
    """Validated numbers as rows that know what the base model is to be given.

    Without a base model and a preprocessor they are returned as they are.
    """
    preprocessed = preprocesses(model, reset)
    has_base = model._parameter("base_estimator") is not None
    if not has_base and not hasattr(model, "base_estimator_") and not preprocessed:
        return numbers
    if not reset and not preprocessed:
        columns = model._frame.columns
        if columns is None:
            table = None  # the base model was fitted to numbers without names
        elif table is None:
            table = as_table(numbers, columns)
    return with_source(numbers, Source(numbers if table is None else table))


# -- the preprocessor -----------------------------------------------------------------


def _preprocessed(model, X, y, reset, how, y_numeric):
    columns = columns_of(X)
    if columns is None:
        X = check_array(
            X, accept_sparse="csr", dtype=None, ensure_all_finite=False, estimator=model
        )
    if not reset and columns is None and (known := model._frame.columns) is not None:
        raise ValueError(
            f"{type(model).__name__} was fitted to a table with the columns "
            f"{list(known[1])}, which its linear_preprocessor and base_estimator may "
            f"know by name; X is of the type {type(X).__name__}. Pass a DataFrame with "
            "these columns."
        )
    if X.shape[0] == 0:
        raise ValueError(
            f"Found array with 0 sample(s) (shape={tuple(X.shape)}) while a minimum of "
            f"1 is required by {type(model).__name__}."
        )
    table = validate_data(model, X, reset=reset, skip_check_array=True)
    if not isinstance(y, str):
        y = _check_y(y, y_numeric=y_numeric, estimator=model)
        check_consistent_length(table, y)
    numbers = _transformed(model, table, y, reset)
    return _checked(model, numbers, table, reset, how), table, y


def _transformed(model, table, y, reset):
    """What the preprocessor makes of a table; it is fitted if ``reset`` says so."""
    given = model._parameter("linear_preprocessor")
    # the user's routing concerns the meta-learner; the preprocessor makes no requests
    with config_context(enable_metadata_routing=False):
        if not reset:
            with naming_base(given, "could not transform X, as linear_preprocessor"):
                return model.linear_preprocessor_.transform(table)
        fitted = seeded(clone(given), model._parameter("random_state"))
        with naming_base(
            given, f"could not be fitted to all {len(y)} rows, as linear_preprocessor"
        ):
            if hasattr(fitted, "fit_transform"):
                numbers = fitted.fit_transform(table, y)
            else:
                numbers = fitted.fit(table, y).transform(table)
    model.linear_preprocessor_ = fitted
    return numbers


def _checked(model, numbers, table, reset, how):
    """Finite numbers in as many rows as the table has, and in the known columns."""
    name = type(model._parameter("linear_preprocessor")).__name__
    with _explaining_what_is_no_number(name):
        numbers = check_array(plain_table(numbers), estimator=model, **how)
    if numbers.shape[0] != table.shape[0]:
        raise ValueError(
            f"{name}, the linear_preprocessor, made {numbers.shape[0]} rows of "
            f"{table.shape[0]}. It must give one row for each."
        )
    if not reset and numbers.shape[1] != (width := model._scaling.x_mean.shape[0]):
        raise ValueError(
            f"{name}, the linear_preprocessor, made {numbers.shape[1]} columns, and in "
            f"meta-training {width}. It must always give the same columns."
        )
    return numbers


@contextmanager
def _explaining_what_is_no_number(name):
    try:
        yield
    except (ValueError, TypeError) as error:
        first = str(error).partition("\n")[0].rstrip(".")
        raise ValueError(
            f"{name}, the linear_preprocessor, must make finite numbers of every "
            f"column, for the linear part. What it made: {first}. Let it fill missing "
            "values (SimpleImputer) and encode or drop text and categories "
            "(OneHotEncoder), for example by make_column_transformer."
        ) from error


def rows_again(model, numbers, said=None):
    """Rows of numbers that were validated and kept by themselves.

    ``said`` (n, o) is what the base model says of each, if the table cannot be made
    again: see `to_keep`.
    """
    if preprocesses(model):
        return answered(numbers, getattr(model, "base_estimator_", None), said)
    return with_table(model, numbers, None, reset=False)


def to_keep(model, X):
    """The numbers of validated rows, and what `rows_again` needs besides, or None."""
    said = None
    if preprocesses(model) and hasattr(model, "base_estimator_"):
        said = said_by_base(model, X)
    return numbers_of(X), said


def linear_names(model):
    """Names of the columns of the linear part, or None if they are not known."""
    fitted = getattr(model, "linear_preprocessor_", None)
    if fitted is None:
        return getattr(model, "feature_names_in_", None)
    try:
        return np.asarray(fitted.get_feature_names_out(), dtype=object)
    except (AttributeError, ValueError, TypeError):
        return None


def n_linear(model):
    """The number of columns of the linear part of a fitted model."""
    return model._frame.scaling.x_mean.shape[0]
