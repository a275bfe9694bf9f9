"""Rows of numbers that know the table they were made of.

A linear model needs numbers. A base model does not: it may want the user's table as it
came, with names, categories and missing values. Validated rows of a model that has both
are an array of numbers, or a CSR matrix, that also knows its `Source`. Whoever takes
some of the rows gets rows that still know it. Whoever computes with them gets plain
numbers, so only the base model, through `table_of`, ever sees the table.
"""

import sys

import numpy as np
from scipy import sparse
from sklearn.utils import _safe_indexing

from skmeta._checks.task_lists import stack_rows

# Tables with names of columns are those of these libraries.
LIBRARIES = ("pandas", "polars")


class Source:
    """The table that rows were made of, and what a base model says of it.

    A base model is asked once about all rows of the table, whoever needs some of its
    answers first. Calling a forest for five rows takes nearly as long as for thousands.

    Parameters
    ----------
    table : DataFrame, array or sparse matrix of shape (n_rows, n_columns)
    base, said : estimator and ndarray of shape (n_rows, n_outputs), default=None
        A base model and its answer, if it is known.
    """

    def __init__(self, table, base=None, said=None):
        self.table, self.base = table, base
        self._said = {} if said is None else {id(base): (base, said)}
        self.all_places = np.arange(table.shape[0])

    def rows(self, places):
        """Some rows of the table, or the table itself if these are all."""
        if places is self.all_places:
            return self.table
        return _safe_indexing(self.table, places)

    def said_by(self, base, ask):
        """What ``ask(table)`` returns, which is remembered for this base model."""
        if id(base) not in self._said:
            self._said[id(base)] = base, ask(self.table)
        return self._said[id(base)][1]


class _KnowsSource:
    """What the kinds of rows below have in common."""

    source = None
    places = None  # which rows of the source these are

    def __getitem__(self, index):
        found = super().__getitem__(index)
        if self.source is None or isinstance(index, tuple) or np.ndim(found) != 2:
            return _plain(found)
        found.source, found.places = self.source, self.places[index]
        return found


class DenseRows(_KnowsSource, np.ndarray):
    """An array of numbers (n_rows, n_features) whose rows know their `Source`."""

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        if out is not None:
            options["out"] = tuple(map(_plain, out))
        return getattr(ufunc, method)(*map(_plain, inputs), **options)

    def __array_function__(self, func, types, args, kwargs):
        return _plain(super().__array_function__(func, types, args, kwargs))

    def __reduce__(self):  # a table is never saved by the way
        return _plain(self).__reduce__()


class CsrMatrixRows(_KnowsSource, sparse.csr_matrix):
    """The same as a sparse matrix."""


class CsrArrayRows(_KnowsSource, sparse.csr_array):
    """The same as a sparse array."""


def _plain(numbers):
    """Numbers that do not know where they come from."""
    if type(numbers) is DenseRows:
        return numbers.view(np.ndarray)
    if isinstance(numbers, (CsrMatrixRows, CsrArrayRows)):
        is_array = isinstance(numbers, sparse.csr_array)
        kind = sparse.csr_array if is_array else sparse.csr_matrix
        parts = numbers.data, numbers.indices, numbers.indptr
        return kind(parts, shape=numbers.shape)
    return numbers


def knows_source(X):
    """Whether X are rows that know their table, which have been validated before."""
    return getattr(X, "source", None) is not None and isinstance(X, _KnowsSource)


def with_source(X, source):
    """Validated numbers as rows of a `Source` that has as many rows."""
    return _knowing(X, source, source.all_places)


def _knowing(X, source, places):
    if sparse.issparse(X):
        kind = CsrArrayRows if isinstance(X, sparse.csr_array) else CsrMatrixRows
        rows = kind((X.data, X.indices, X.indptr), shape=X.shape)
    else:
        rows = X.view(DenseRows)
    rows.source, rows.places = source, places
    return rows


def answered(X, base, said):
    """Rows whose table is not kept, but what a base model says of each: (n, o)."""
    return with_source(X, Source(X, base, said))


def of_type(X, dtype):
    """Rows whose numbers are of another type."""
    if X.dtype == dtype:
        return X
    return _knowing(numbers_of(X).astype(dtype), X.source, X.places)


def numbers_of(X):
    """The numbers of validated rows, as a plain array or CSR matrix."""
    return _plain(X)


def table_of(X):
    """The table behind validated rows: what a base model is given."""
    return X.source.rows(X.places) if knows_source(X) else X


def joined(parts):
    """Validated rows under each other."""
    numbers = stack_rows([numbers_of(part) for part in parts])
    if not all(map(knows_source, parts)):
        return numbers
    return with_source(numbers, Source(stack_rows([table_of(part) for part in parts])))


# -- names of columns -----------------------------------------------------------------


def columns_of(table):
    """The library and the names of columns of a DataFrame; None of another table."""
    library = type(table).__module__.partition(".")[0]
    if library not in LIBRARIES or not hasattr(table, "columns"):
        return None
    return library, tuple(table.columns)


def as_table(X, columns):
    """An array as a DataFrame with the columns that `columns_of` has returned."""
    library, names = columns
    X = X.toarray() if sparse.issparse(X) else np.asarray(X)
    module = sys.modules.get(library)
    if module is None:  # a model was loaded where nobody has imported the library
        from importlib import import_module

        module = import_module(library)
    if library == "polars":
        return module.DataFrame(X, schema=list(map(str, names)))
    return module.DataFrame(X, columns=list(names))
