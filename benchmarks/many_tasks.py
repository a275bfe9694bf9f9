"""Adapting to 10,000 to 1,000,000 tasks: CPU seconds and memory of ``adapt_predict``.

    OMP_NUM_THREADS=1 python benchmarks/many_tasks.py [--save results.json] [--quick]

Each task gives 10 rows of 8 columns, and one other row of it is predicted. Each figure
is that of a process of its own, whose model is meta-trained on 300 tasks: the CPU
seconds of the whole call, validation included, and the memory at its peak, as a
multiple of the data (X, y and the ids) that it is given, themselves included. Beside
them stands what one task costs if each is adapted to in turn, ``adapt`` and
``predict``. The last lines are few-shot scores, in microseconds for each adaptation and
score.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings

import _results
import numpy as np

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRegressor,
    ReptileRegressor,
)
from skmeta.model_selection import few_shot_scores

N_ROWS, N_COLUMNS = 10, 8
MODELS = {
    "learned prior, one noise": EmpiricalBayesRegressor(noise="shared", random_state=0),
    "learned prior, noise per task": EmpiricalBayesRegressor(
        noise="task", random_state=0
    ),
    "two classes": EmpiricalBayesClassifier(random_state=0),
    "three classes": EmpiricalBayesClassifier("diagonal", random_state=0),
    "counts": EmpiricalBayesPoissonRegressor(random_state=0),
    "Reptile, linear": ReptileRegressor(random_state=0),
}
# (model, method, numbers of tasks)
CASES = [
    ("learned prior, one noise", "predict", (10_000, 100_000, 1_000_000)),
    ("learned prior, one noise", "predict_interval", (10_000, 100_000)),
    ("learned prior, noise per task", "predict", (10_000, 100_000, 1_000_000)),
    ("two classes", "predict_proba", (10_000, 100_000, 1_000_000)),
    ("three classes", "predict_proba", (10_000, 100_000)),
    ("counts", "predict", (10_000, 100_000)),
    ("Reptile, linear", "predict", (10_000, 100_000)),
]
N_ALONE = 300  # so many tasks are adapted to in turn
SCORED = [("learned prior, one noise", "r2"), ("two classes", "neg_log_loss")]


def rows_of(name, n_tasks, n_rows, seed):
    """X, y and task of tasks whose slopes differ."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_tasks * n_rows, N_COLUMNS))
    task = np.repeat(np.arange(n_tasks), n_rows)
    y = rng.standard_normal(len(X))
    for column in range(N_COLUMNS):
        y += X[:, column] * np.repeat(1 + 0.5 * rng.standard_normal(n_tasks), n_rows)
    if name == "counts":
        y = rng.poisson(np.exp(np.clip(0.2 * y, -3, 3))).astype(float)
    elif "classes" in name:
        y = np.digitize(y, [0.0] if name == "two classes" else [-1.5, 1.5])
    return X, y, task


def trained(name):
    X, y, task = rows_of(name, 300, N_ROWS, seed=0)
    return MODELS[name].fit(X, y, task=task)


def peak():
    """Bytes of memory that this process has had at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(name, method, n_tasks):
    """Figures of one call, in this process."""
    model = trained(name)
    X, y, task = rows_of(name, n_tasks, N_ROWS, seed=1)
    X_new, task_new = X[::N_ROWS] + 0.1, task[::N_ROWS].copy()
    size = sum(part.nbytes for part in (X, y, task, X_new, task_new))
    before, start = peak(), time.process_time()
    found = model.adapt_predict(
        X, y, X_new, task=task, task_new=task_new, method=method
    )
    seconds = time.process_time() - start
    memory = (size + peak() - before) / size
    n_alone, start = min(n_tasks, N_ALONE), time.process_time()
    for t in range(n_alone):
        some = slice(t * N_ROWS, (t + 1) * N_ROWS)
        alone = getattr(model.adapt(X[some], y[some]), method)(X_new[[t]])
        np.testing.assert_allclose(found[t], alone[0], rtol=1e-6, atol=1e-9)
    in_turn = (time.process_time() - start) / n_alone
    return {"seconds": seconds, "memory": memory, "us_in_turn": 1e6 * in_turn}


def measured_apart(*case):
    """`measure` in a process of its own, the quicker of two unless tasks are many."""
    command = [sys.executable, __file__, "--case", json.dumps(case)]
    runs = [
        json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        for _ in range(1 if case[-1] >= 1_000_000 else 2)
    ]
    return min(runs, key=lambda run: run["seconds"])


def score(name, scoring, n_tasks):
    """Microseconds of each adaptation and score."""
    model = trained(name)
    X, y, task = rows_of(name, n_tasks, 15, seed=2)
    start = time.process_time()
    few_shot_scores(model, X, y, task, scoring=scoring)
    return 1e6 * (time.process_time() - start) / (3 * n_tasks)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--save", metavar="FILE", help="save the results as JSON")
    parser.add_argument("--quick", action="store_true", help="10,000 tasks at most")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.case:
        print(json.dumps(measure(*json.loads(options.case))))
        return
    rows = []
    for name, method, sizes in CASES:
        for n_tasks in sizes[: 1 if options.quick else None]:
            found = measured_apart(name, method, n_tasks)
            rows.append({"model": name, "method": method, "n_tasks": n_tasks, **found})
            print(
                f"{name:30s} {method:17s} {n_tasks:9,d} tasks {found['seconds']:7.2f} s"
                f"  {found['memory']:4.1f} x the data, in turn"
                f" {found['us_in_turn']:5.0f} us a task",
                flush=True,
            )
    scores = {}
    for name, scoring in SCORED:
        scores[f"{name}, {scoring}"] = score(name, scoring, 1000)
        print(
            f"few_shot_scores, {name}, {scoring}: {scores[f'{name}, {scoring}']:.0f} us"
        )
    _results.save(options.save, {"adapt_predict": rows, "few_shot_scores": scores})


if __name__ == "__main__":
    main()
