"""The parameter ``time_column``: which column of X holds the times of the rows."""


def number_of_column(column, n_features, names=None):
    """The number of the column of times, from 0; None if there is none.

    Parameters
    ----------
    column : str, int or None
        Its name or its number, which may count from the end.
    n_features : int
    names : sequence of str or None
        Names of the columns, if they have any.
    """
    if column is None:
        return None
    if not isinstance(column, str):
        if not -n_features <= column < n_features:
            raise ValueError(
                f"time_column={column}, but X has {n_features} columns, which are "
                f"numbered from 0 to {n_features - 1}."
            )
        return int(column) % n_features
    if names is None:
        raise ValueError(
            f"time_column={column!r} is a name, but X has no names of columns. Pass a "
            "DataFrame to fit (behind a transformer: set_output(transform='pandas')), "
            "or give the number of the column."
        )
    names = list(names)
    if column not in names:
        shown = names if len(names) <= 8 else [*names[:8], "..."]
        raise ValueError(
            f"time_column={column!r} is no column of X as it reaches this estimator. "
            f"The columns are {', '.join(map(str, shown))}. A transformer in front may "
            "drop or rename it: let it pass through."
        )
    return names.index(column)
