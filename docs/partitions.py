"""Meta-training and nightly scores, a partition of the rows at a time.

A row is an answer of a shopper: columns of X, the id "shopper" and the target "y",
which is missing (NaN) where it is to be predicted. No engine is imported before it is
used.
"""

from skmeta import TaskStatistics, adapt_predict

# -- one partition, a DataFrame of pandas ---------------------------------------------


def parts_of(rows):
    """Columns, targets and shoppers of some rows."""
    return rows.drop(columns=["shopper", "y"]), rows["y"], rows["shopper"]


def tell(rows):
    """What the known rows of a partition tell, whichever shoppers they belong to."""
    known = rows[rows["y"].notna()]
    return TaskStatistics.from_rows(*parts_of(known)) if len(known) else None


def add_up(told):
    """The statistics of several partitions together; None is that of no rows."""
    told = [statistics for statistics in told if statistics is not None]
    return sum(told) if told else None


def score(rows, model):
    """Predict the missing targets after adapting to each shopper's known ones.

    All rows of a shopper must be in the same partition.
    """
    known, asked = rows[rows["y"].notna()], rows[rows["y"].isna()]
    X_new, _, shopper_new = parts_of(asked)
    if asked.empty or known.empty:  # as some partitions may be
        y_new = model.predict(X_new) if len(asked) else []
        return asked.assign(y_new=y_new).astype({"y_new": float})
    X, y, shopper = parts_of(known)
    y_new = adapt_predict(model, X, y, X_new, task=shopper, task_new=shopper_new)
    return asked.assign(y_new=y_new)


# -- dask -----------------------------------------------------------------------------


def learn_with_dask(table, model):
    """Meta-train on a dask DataFrame: sums of each partition, added up as a tree."""
    from dask import delayed

    told = [delayed(tell)(part) for part in table.to_delayed()]
    while len(told) > 1:
        told = [delayed(add_up)(told[i : i + 8]) for i in range(0, len(told), 8)]
    return model.meta_fit(told[0].compute())


def score_with_dask(table, model):
    """The scores of a dask DataFrame, as another one."""
    whole = table.shuffle("shopper")  # the rows of a shopper come together
    columns = table.partitions[0].head(0).assign(y_new=0.0)
    return whole.map_partitions(score, model, meta=columns)


# -- Spark ----------------------------------------------------------------------------


def score_batches(batches, model):
    """Scores of one partition, which Spark cuts into batches, and shoppers with it."""
    import pandas as pd

    batches = list(batches)
    if batches:
        yield score(pd.concat(batches, ignore_index=True), model)


def score_with_spark(table, model):
    """The scores of a Spark DataFrame, as another one."""
    from pyspark.sql.functions import lit

    return table.repartition("shopper").mapInPandas(
        lambda batches: score_batches(batches, model),
        schema=table.withColumn("y_new", lit(0.0)).schema,
    )


# -- polars ---------------------------------------------------------------------------


def score_with_polars(table, model, n_groups=8):
    """The scores of a polars DataFrame, in groups of many shoppers."""
    import polars as pl

    grouped = table.with_columns(group=pl.col("shopper").hash() % n_groups)
    return grouped.group_by("group").map_groups(
        lambda part: pl.from_pandas(score(part.drop("group").to_pandas(), model))
    )
