"""CPU seconds of a fit, by model, number of tasks, rows of each and columns.

    OMP_NUM_THREADS=1 python benchmarks/fit_seconds.py [--only TEXT] [--save FILE]

Each model has its defaults and is fitted once to each shape. The columns are standard
normal, or "dummies": the one-hot columns of two categories. Each task has slopes of its
own on all columns that are not dummies. The script also keeps the warning before a long
fit, which holds an estimate of its time.
"""

import argparse
import time
import warnings

import _machine
import _results
import numpy as np

import skmeta

# Tasks, rows of each, columns that are numbers, and dummies.
SHAPES = {
    "few tasks": (20, 20, 5, 0),
    "usual": (200, 20, 5, 0),
    "many tasks": (10_000, 20, 5, 0),
    "many rows": (200, 1000, 5, 0),
    "20 columns": (200, 20, 20, 0),
    "50 columns": (200, 20, 50, 0),
    "100 columns": (200, 50, 100, 0),
    "120 dummies": (400, 120, 2, 120),
}
NUMBERS, LABELS, COUNTS = "numbers", "two labels", "counts"
OF_MANY_CLASSES = "ten labels"
# What is fitted: the model, the kind of target, and the shapes.
CASES = [
    (
        "EmpiricalBayesRegressor",
        lambda: skmeta.EmpiricalBayesRegressor(random_state=0),
        NUMBERS,
        list(SHAPES),
    ),
    (
        "EmpiricalBayesClassifier",
        lambda: skmeta.EmpiricalBayesClassifier(random_state=0),
        LABELS,
        list(SHAPES)[:6],
    ),
    (
        "EmpiricalBayesClassifier, ten classes",
        lambda: skmeta.EmpiricalBayesClassifier(random_state=0),
        OF_MANY_CLASSES,
        ["few tasks", "usual"],
    ),
    (
        "EmpiricalBayesPoissonRegressor",
        lambda: skmeta.EmpiricalBayesPoissonRegressor(random_state=0),
        COUNTS,
        ["few tasks", "usual", "20 columns"],
    ),
    (
        "EmpiricalBayesRanker, four offers in a set",
        lambda: skmeta.EmpiricalBayesRanker(random_state=0),
        "choices",
        ["few tasks", "usual", "20 columns"],
    ),
    (
        "EmpiricalBayesRegressor, base_estimator='auto'",
        lambda: skmeta.EmpiricalBayesRegressor(base_estimator="auto", random_state=0),
        NUMBERS,
        ["few tasks", "usual"],
    ),
]


def columns(rng, n_rows, n_numbers, n_dummies):
    """Numbers, and the one-hot columns of two categories."""
    parts = [rng.normal(size=(n_rows, n_numbers))]
    for half in [n_dummies // 2] * 2 if n_dummies else []:
        parts.append(np.eye(half)[rng.integers(half, size=n_rows)])
    return np.hstack(parts)


def make(shape, kind):
    """X, y, task, and the number of the choice set of each row."""
    n_tasks, n_each, n_numbers, n_dummies = shape
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(n_tasks), n_each)
    X = columns(rng, len(task), n_numbers, n_dummies)
    slopes = rng.normal(size=X.shape[1]) / np.sqrt(n_numbers)
    own = rng.normal(size=(n_tasks, n_numbers)) / np.sqrt(n_numbers)
    y = X @ slopes + (X[:, :n_numbers] * own[task]).sum(axis=1)
    choice_set = np.tile(np.repeat(np.arange(n_each // 4), 4), n_tasks)
    if kind == COUNTS:
        y = rng.poisson(np.exp(np.minimum(y, 4)))
    elif kind == LABELS:
        y = (y + rng.logistic(size=len(y)) > 0).astype(int)
    elif kind == OF_MANY_CLASSES:
        utility = X @ rng.normal(size=(X.shape[1], 10)) + 3 * y[:, None]
        y = (utility + rng.gumbel(size=utility.shape)).argmax(axis=1)
    elif kind == "choices":
        utility = (y + rng.gumbel(size=len(y))).reshape(-1, 4)
        y = (utility == utility.max(axis=1, keepdims=True)).ravel().astype(int)
    else:
        y = y + rng.normal(size=len(y))
    return X, y, task, choice_set


def seconds(build, kind, shape):
    """CPU seconds of the fit, and what a warning expected if there was one."""
    X, y, task, choice_set = make(shape, kind)
    sets = {"choice_set": choice_set} if kind == "choices" else {}
    model = build()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        start = time.process_time()
        model.fit(X, y, task=task, **sets)
        taken = time.process_time() - start
    said = [str(w.message) for w in caught if "minutes" in str(w.message)]
    return taken, said[0] if said else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="models whose names hold this text")
    parser.add_argument("--save")
    arguments = parser.parse_args()
    versions = _machine.versions_of("numpy", "scipy", "scikit-learn")
    machine = {"processor": _machine.processor(), **versions}
    found = []
    for title, build, kind, names in CASES:
        if arguments.only not in title:
            continue
        for name in names:
            shape = SHAPES[name]
            taken, said = seconds(build, kind, shape)
            found.append(
                {
                    "model": title,
                    "shape": list(shape),
                    "seconds": float(f"{taken:.2g}"),
                    "said": said,
                }
            )
            print(f"{title:55s} {shape}  {taken:8.2f} s  {said or ''}", flush=True)
            _results.save(arguments.save, {"machine": machine, "fits": found})


if __name__ == "__main__":
    main()
