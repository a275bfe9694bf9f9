"""What spreading work over processes costs, and whether it changes the result.

    python benchmarks/engines.py [--tasks 100000] [--save results.json]

The rows are of tasks with 10 rows of 8 columns, half of whose targets are missing in
the nightly job. One process learns the prior and scores the missing targets; then a
LocalCluster of dask with two processes does the same by the functions of
``docs/partitions.py``, from 20 partitions of whole tasks. DuckDB computes the sums by
the SQL of `statistics_query`. Seconds are those of CPUs. The workers' are summed, and
hold everything that dask does for them: making the rows, shuffling, sending.

The last table is arithmetic: seconds per task, times a number of tasks.
"""

# ruff: noqa: E402 (the number of threads is set before NumPy is imported)

import argparse
import os
import pickle
import sys
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
DOCS = str(Path(__file__).parents[1] / "docs")
sys.path.insert(0, DOCS)
# The processes of the workers import the module as well.
os.environ["PYTHONPATH"] = os.pathsep.join([DOCS, os.environ.get("PYTHONPATH", "")])

import _machine
import _results
import numpy as np
import pandas as pd
import partitions

from skmeta import EmpiricalBayesRegressor, TaskStatistics, statistics_query

N_ROWS, N_COLUMNS, N_PARTS = 10, 8, 20
COLUMNS = [f"x{number}" for number in range(N_COLUMNS)]


def make_part(part, n_tasks, missing=False):
    """The rows of a share of the tasks, of which every second target may be missing."""
    rng = np.random.default_rng(part)
    X = rng.normal(size=(n_tasks * N_ROWS, N_COLUMNS))
    shopper = np.repeat(np.arange(n_tasks) + part * n_tasks, N_ROWS)
    slopes = 1.0 + rng.normal(size=(n_tasks, N_COLUMNS)) / np.arange(1, N_COLUMNS + 1)
    y = (X * np.repeat(slopes, N_ROWS, axis=0)).sum(axis=1)
    rows = pd.DataFrame(X, columns=COLUMNS)
    rows["shopper"], rows["y"] = shopper, y + rng.normal(size=len(y))
    if missing:
        rows.loc[np.arange(len(rows)) % 2 == 1, "y"] = np.nan
    return rows


def prior():
    return EmpiricalBayesRegressor("full", noise="shared", random_state=0)


def timed(function, *args):
    """What a function returns, and its seconds of CPU."""
    started = time.process_time()
    result = function(*args)
    return result, round(time.process_time() - started, 3)


def by_one_process(n_tasks):
    """The model, the scores, and the seconds of each step."""
    parts = [make_part(part, n_tasks // N_PARTS) for part in range(N_PARTS)]
    rows = pd.concat(parts, ignore_index=True)
    told, of_sums = timed(partitions.tell, rows)
    model, of_prior = timed(prior().meta_fit, told)
    X, y, shopper = partitions.parts_of(rows)
    from_rows, of_rows = timed(lambda: prior().fit(X, y, task=shopper))
    nightly = rows.assign(y=rows["y"].where(np.arange(len(rows)) % 2 == 0))
    scores, of_scores = timed(partitions.score, nightly, model)
    seconds = {
        "sums from rows": of_sums,
        "prior from sums": of_prior,
        "prior from rows": of_rows,
        "adapt and score": of_scores,
    }
    return model, from_rows, rows, scores, seconds


def by_duckdb(rows):
    """The statistics by SQL on one thread, and the seconds."""
    import duckdb

    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("CREATE TABLE answers AS SELECT * FROM rows")
        query = statistics_query("answers", COLUMNS, "y", "shopper")
        table, of_query = timed(lambda: connection.sql(query).df())
    told, of_reading = timed(TaskStatistics.from_frame, table)
    return prior().meta_fit(told), {"sums by SQL": of_query, "read": of_reading}


def by_dask(n_tasks, model):
    """The model, the scores, and the seconds of the workers, by two processes."""
    import dask.dataframe as dd
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(processes=True, **options) as cluster, Client(cluster) as client:
        # What the workers import does not count.
        client.run(partitions.score, make_part(0, 100, missing=True), model)

        def table(missing):
            sizes = [n_tasks // N_PARTS] * N_PARTS
            return dd.from_map(make_part, range(N_PARTS), sizes, missing=missing)

        def measured(function, *args):
            before = client.run(time.process_time)
            result, here = timed(function, *args)
            after = client.run(time.process_time)
            workers = sum(after[name] - before[name] for name in after)
            return result, {"workers": round(workers, 3), "this process": here}

        learned, of_prior = measured(partitions.learn_with_dask, table(False), prior())
        lazy = partitions.score_with_dask(table(True), model)
        scores, of_scores = measured(lazy.compute)
    return learned, scores, {"prior": of_prior, "adapt and score": of_scores}


def apart(one, other):
    """The largest relative difference of what two priors say."""
    names = "prior_coef_", "prior_intercept_", "prior_covariance_", "noise_variance_"
    pairs = [(np.asarray(getattr(m, n)) for m in (one, other)) for n in names]
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)


def scores_apart(one, other):
    """The largest difference of the scores of the same rows, in deviations of y."""
    keys = ["shopper", *COLUMNS]
    a, b = (part.sort_values(keys)["y_new"].to_numpy() for part in (one, other))
    return float(np.abs(a - b).max() / a.std())


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--save", help="file for the results, as JSON")
    args = parser.parse_args()
    n_tasks = args.tasks // N_PARTS * N_PARTS
    model, from_rows, rows, scores, seconds = by_one_process(n_tasks)
    by_sql, of_sql = by_duckdb(rows)
    by_two, scores_of_two, of_dask = by_dask(n_tasks, model)
    told = partitions.tell(rows)
    results = {
        "tasks": n_tasks,
        "rows": N_ROWS,
        "columns": N_COLUMNS,
        "one_process": seconds,
        "duckdb": of_sql,
        "dask": of_dask,
        "machine": {
            "processor": _machine.processor(),
            **_machine.versions_of("skmeta", "numpy", "dask", "duckdb"),
        },
        "bytes_per_task": len(pickle.dumps(told)) / n_tasks,
        "apart": {
            "prior by dask": apart(model, by_two),
            "prior by SQL": apart(model, by_sql),
            "prior from rows": apart(model, from_rows),
            "scores by dask": scores_apart(scores, scores_of_two),
        },
    }
    print(results)
    _results.save(args.save, results)


if __name__ == "__main__":
    main()
