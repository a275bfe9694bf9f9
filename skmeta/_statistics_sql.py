"""The names of the columns of statistics, and the SQL that computes them."""

from skmeta._checks.values import show

ROWS, WEIGHT = "n_rows", "weight"


def mean_name(column):
    """The name of the column that holds the means of another one."""
    return f"mean_{column}"


def scatter_name(column, other):
    """The same for the sums of the products of two columns about their means."""
    return f"scatter_{column}_{other}"


def names_of_statistics(task, columns, case_counts=True):
    """All names, in order, for statistics of the columns; the target comes last.

    Raises an error if two of them would be the same. To databases, names that differ
    only in upper and lower case are the same.
    """
    names = [task, ROWS, WEIGHT, *map(mean_name, columns)]
    names += [
        scatter_name(column, other)
        for i, column in enumerate(columns)
        for other in columns[: i + 1]
    ]
    seen = set()
    for name in names:
        key = name if case_counts else name.lower()
        if key in seen:
            raise ValueError(
                f"Two columns of the statistics would have the name {name!r}, since "
                "names of columns are joined by underscores. Rename one of the columns."
            )
        seen.add(key)
    return names


def statistics_query(
    table, columns, target, task, sample_weight=None, *, quote_character='"'
):
    """Write the SQL that computes what :meth:`TaskStatistics.from_frame` reads.

    It is one ``SELECT ... GROUP BY`` over window functions: first the means of each
    task, then the sums of products about these means. So no digits are lost, however
    far from zero a column is. The text is standard SQL, and runs in DuckDB, in SQLite
    from version 3.25 on, in PostgreSQL, and, with ``quote_character="`"``, in Spark.

    Parameters
    ----------
    table : str or sequence of str
        Name of the table or view; with a schema, the parts of its name:
        ``("sales", "orders")``.
    columns : sequence of str
        Names of the columns of X, in order.
    target : str
        Name of the column of y.
    task : str
        Name of the column of the tasks' ids.
    sample_weight : str, default=None
        Name of the column of weights, which must not be negative.
    quote_character : {'"', "`"}, default='"'
        What the database puts around names.

    Returns
    -------
    query : str
        The text. Its result has one row for each task.

    See Also
    --------
    TaskStatistics.from_frame : Reads the result.

    Notes
    -----
    Rows with a NULL in any of these columns are left out, and so are rows of weight 0.
    A NaN is not NULL: it leads to an error when the result is read.

    Examples
    --------
    >>> from skmeta import statistics_query
    >>> print(statistics_query("sales", ["price"], "demand", "shop"))
    SELECT r."shop" AS "shop", COUNT(*) AS "n_rows", SUM(r.w) AS "weight",
      MAX(r.m0) AS "mean_price",
      MAX(r.m1) AS "mean_demand",
      SUM(r.w * r.d0 * r.d0) AS "scatter_price_price",
      SUM(r.w * r.d1 * r.d0) AS "scatter_demand_price",
      SUM(r.w * r.d1 * r.d1) AS "scatter_demand_demand"
    FROM (
      SELECT s."shop", s.w,
        s.m0, s.c0 - s.m0 AS d0,
        s.m1, s.c1 - s.m1 AS d1
      FROM (
        SELECT t."shop", 1e0 AS w,
          1e0 * t."price" AS c0, AVG(1e0 * t."price") OVER (PARTITION BY t."shop") AS m0,
          1e0 * t."demand" AS c1, AVG(1e0 * t."demand") OVER (PARTITION BY t."shop") AS m1
        FROM "sales" AS t
        WHERE t."shop" IS NOT NULL AND t."price" IS NOT NULL AND t."demand" IS NOT NULL
      ) AS s
    ) AS r
    GROUP BY r."shop"
    """  # noqa: E501 (the text of a query is shown as it is)
    if quote_character not in ('"', "`"):
        raise ValueError(
            f"quote_character must be '\"' or '`'; got {show(quote_character)}."
        )
    quoted = _Quoted(quote_character)
    if isinstance(columns, str):
        raise ValueError(
            f"columns={columns!r} is one name; pass a list of names: [{columns!r}]."
        )
    columns = [*columns]
    if not columns:
        raise ValueError("columns is empty: statistics need at least one column of X.")
    names = [*columns, target]
    given = [*names, task] + ([] if sample_weight is None else [sample_weight])
    quoted.check(*given)
    twice = next((name for name in given if given.count(name) > 1), None)
    if twice is not None:
        raise ValueError(
            f"The column {twice!r} is named twice. A column is a feature, the target, "
            "the weight or the id of the task."
        )
    parts = [table] if isinstance(table, str) else [*table]
    quoted.check(*parts)
    source = ".".join(map(quoted, parts))
    outputs = names_of_statistics(task, names, case_counts=False)
    return _text(source, names, task, sample_weight, outputs, quoted)


def _text(source, names, task, sample_weight, outputs, quoted):
    """The text of the query, by names that have been checked."""
    k, key = len(names), quoted(task)
    weight = "1e0" if sample_weight is None else f"1e0 * t.{quoted(sample_weight)}"
    given = [task, *names] + ([] if sample_weight is None else [sample_weight])
    there = [f"t.{quoted(name)} IS NOT NULL" for name in given]
    if sample_weight is not None:
        # A negative weight stays, and makes an error when the result is read.
        there.append(f"t.{quoted(sample_weight)} <> 0")
    over = f"OVER (PARTITION BY t.{key})"
    inner = []
    for i, name in enumerate(names):
        value = f"1e0 * t.{quoted(name)}"
        mean = f"AVG({value}) {over}"
        if sample_weight is not None:
            mean = f"SUM({weight} * t.{quoted(name)}) {over} / SUM({weight}) {over}"
        inner.append(f"{value} AS c{i}, {mean} AS m{i}")
    middle = [f"s.m{i}, s.c{i} - s.m{i} AS d{i}" for i in range(k)]
    outer = [f"MAX(r.m{i})" for i in range(k)]
    outer += [f"SUM(r.w * r.d{i} * r.d{j})" for i in range(k) for j in range(i + 1)]
    if sample_weight is not None:
        outer.append("MIN(r.w)")
        outputs = [*outputs, LEAST_WEIGHT]
    outer = [
        f"{value} AS {quoted(name)}"
        for value, name in zip(outer, outputs[3:], strict=True)
    ]
    lines = [
        f"SELECT r.{key} AS {key}, COUNT(*) AS {quoted(ROWS)}, "
        f"SUM(r.w) AS {quoted(WEIGHT)},",
        _listed(outer, 2),
        "FROM (",
        f"  SELECT s.{key}, s.w,",
        _listed(middle, 4),
        "  FROM (",
        f"    SELECT t.{key}, {weight} AS w,",
        _listed(inner, 6),
        f"    FROM {source} AS t",
        f"    WHERE {' AND '.join(there)}",
        "  ) AS s",
        ") AS r",
        f"GROUP BY r.{key}",
    ]
    return "\n".join(lines)


# The name of the column that shows whether a weight was negative.
LEAST_WEIGHT = "least_weight"


def _listed(items, indent):
    return ",\n".join(" " * indent + item for item in items)


class _Quoted:
    """Puts quotes around names, so that they can be nothing else."""

    def __init__(self, character):
        self.character = character

    def check(self, *names):
        for name in names:
            if not isinstance(name, str) or not name or "\0" in name:
                raise ValueError(
                    f"{show(name)} cannot be a name in SQL; a name is text that is not "
                    "empty and holds no NUL. Name the columns of the table."
                )

    def __call__(self, name):
        return (
            self.character
            + name.replace(self.character, self.character * 2)
            + (self.character)
        )
