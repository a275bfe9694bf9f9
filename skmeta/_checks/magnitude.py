"""Numbers that are too large to compute with."""

from contextlib import contextmanager

import numpy as np
from scipy import sparse

from skmeta._checks.values import show

# The largest numbers whose products can be summed, by the bytes of a number.
LARGEST_NUMBER = {8: 1e100, 4: 1e37}


def check_magnitude(table, name="X", names=lambda: None):
    """Refuse finite numbers that are too large to compute with.

    ``names()`` returns those of the columns, or None.
    """
    numbers = table.data if sparse.issparse(table) else table
    limit = LARGEST_NUMBER[numbers.dtype.itemsize]
    if not numbers.size or (numbers.max() <= limit and numbers.min() >= -limit):
        return
    where = ""
    if name == "X":
        table = table.tocsc() if sparse.issparse(table) else table
        low, high = table.min(axis=0), table.max(axis=0)
        if sparse.issparse(low):
            low, high = low.toarray(), high.toarray()
        column = int(np.argmax(np.maximum(np.abs(low), np.abs(high))))
        found = names()
        found = range(column + 1) if found is None else found
        where = f" in column {show(found[column])}"
    largest = max(float(numbers.max()), -float(numbers.min()))
    raise ValueError(
        f"{name} holds {largest:.3g}{where}; products of numbers beyond {limit:.0e} "
        "are no numbers. Change the unit, or mend the rows."
    )


@contextmanager
def explaining_singular(weight):
    """Explain why a matrix is singular that should have an inverse."""
    try:
        yield
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "The rows are beyond what double precision can solve "
            f"({str(error).lower().rstrip('.')}): their weights are {weight.min():.3g} "
            f"to {weight.max():.3g}, and sum to {weight.sum():.3g}. Divide the weights "
            "by their mean, centre columns that are far from zero, and leave "
            "standardize=True."
        ) from error
