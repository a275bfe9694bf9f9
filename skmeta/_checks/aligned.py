"""The arguments of a verb: tables and columns whose rows belong together."""

from collections.abc import Iterator
from numbers import Number

import numpy as np
from scipy import sparse

from skmeta._checks.values import check_alike


def check_aligned(**tables):
    """Refuse pandas objects whose row labels differ: scikit-learn never aligns them.

    Behind a scaler X has no labels any more, but y and the ids still have them.
    Anything that is not a table or column is refused, too, such as the name of a
    column.
    """
    for name, table in tables.items():
        if not name.startswith("task"):
            _check_is_table(name, table)
    labelled = {
        name: table.index
        for name, table in tables.items()
        if hasattr(getattr(table, "index", None), "equals")
    }
    first = next(iter(labelled), None)
    for name, index in labelled.items():
        reference = labelled[first]
        if len(index) == len(reference) and not index.equals(reference):
            raise ValueError(
                f"{first} and {name} have different row labels, so their rows would be "
                f"matched by position only. Use {name}.loc[{first}.index], or "
                f"{name}.to_numpy() if the order is right."
            )


def _check_is_table(name, table):
    if type(table) is np.ndarray or (table is None and name == "sample_weight"):
        return
    if isinstance(table, str):
        raise ValueError(
            f"{name}={table!r} is a name; pass the column itself, one value per row: "
            f"{name}=df[{table!r}]."
        )
    if table is None and name == "y":  # scikit-learn's checks expect these words
        raise ValueError(
            "This estimator requires y to be passed, but the target y is None. Pass "
            "one target per row."
        )
    if table is None and name.startswith("X"):
        raise ValueError(
            f"{name} is None; pass the rows: an array, a sparse matrix or a DataFrame "
            "of shape (n_samples, n_features)."
        )
    if type(table).__name__ == "LazyFrame":
        raise TypeError(
            f"{name} is a LazyFrame, which holds no rows yet. Pass {name}.collect()."
        )
    if np.ma.is_masked(table):
        raise ValueError(
            f"{name} contains NaN or another missing value: it is masked in "
            f"{np.count_nonzero(np.ma.getmaskarray(table))} places, and the mask would "
            "be lost. Drop those rows, or fill the values."
        )
    single = name != "sample_weight" and isinstance(table, (Number, bool))
    no_table = isinstance(table, (dict, set, Iterator)) and not sparse.issparse(table)
    if single or no_table:
        shown = repr(table) if single else f"a {type(table).__name__}"
        raise ValueError(
            f"{name} must be an array, a DataFrame or the like, with one entry per "
            f"row; got {shown}."
        )
    if name == "y" and sparse.issparse(table):
        raise TypeError(
            "Sparse data was passed for y, but dense data is required. Use "
            "y.toarray().ravel()."
        )
    if name == "y" and isinstance(table, (list, tuple)):
        check_alike(table)  # NumPy would turn numbers into text
