"""What one wrong target among the few rows of a task costs, on real sets of tasks.

    python benchmarks/outliers.py --data FOLDER [--sets NAME ...] [--out FILE]
    python benchmarks/outliers.py --show FILE

`EmpiricalBayesRegressor` learns from some tasks as they are. It is adapted to 4 or 8
rows of each other task, after 0, 5, 10 or 20 deviations of the noise are added to the
target of one of these rows, and predicts the other rows. Compared are "shared" and
"task" as ``noise``, and "shared" with weights of the rows as under a Student
distribution (`weights`). The table holds the root mean squared error of "shared", and
by how many per cent of it that of the others is larger, with half a 95 % interval of
the paired differences over tasks.
"""

import _set_by_set
import _task_sets
import numpy as np
from _scoring import mean_difference

from skmeta import EmpiricalBayesRegressor

SETS = ("cheese_stores", "orange_juice_stores", "exam_london", "movielens_small")
SHOTS = (4, 8)
OFF = (0, 5, 10, 20)
WAYS = ("shared", "task", "weights")
# At most this many tasks of a split are adapted to.
MAX_TASKS = 25
# Degrees of freedom of the Student distribution, and how often weights are computed.
FREEDOM, N_STEPS = 4.0, 6


def weights(model, X, y):
    """Weights of rows as under noise of a Student distribution, by EM."""
    weight, variance = np.ones(len(y)), model.noise_variance_
    scale = variance * (FREEDOM - 2) / FREEDOM
    for _ in range(N_STEPS):
        mean, deviation = model.adapt(X, y, weight).predict(X, return_std=True)
        known = np.maximum(deviation**2 - variance, 0.0)
        weight = (FREEDOM + 1) / (FREEDOM + ((y - mean) ** 2 + known) / scale)
    return weight


def run(folder, name, seed):
    """Errors {(k, off): (T, ways)}."""
    split = _task_sets.draw_split(folder, name, seed)
    tasks = [(task.X, task.y) for task in split.train]
    shared, task = (
        EmpiricalBayesRegressor(noise=noise, random_state=0).meta_fit(tasks)
        for noise in ("shared", "task")
    )
    deviation, found = np.sqrt(shared.noise_variance_), {}
    for k in SHOTS:
        for t in _task_sets.eligible(split.test, k)[:MAX_TASKS]:
            (X, y), (X_new, y_new) = _task_sets.support_and_query(
                split.test[t], k, (seed, t, 0)
            )
            for off in OFF:
                wrong = y + off * deviation * (np.arange(k) == 0)
                adapted = (
                    shared.adapt(X, wrong),
                    task.adapt(X, wrong),
                    shared.adapt(X, wrong, weights(shared, X, wrong)),
                )
                errors = [
                    np.sqrt(np.mean((model.predict(X_new) - y_new) ** 2))
                    for model in adapted
                ]
                found.setdefault((k, off), []).append(errors)
    return found


def summary(runs):
    cells = {}
    for k, off in runs[0]:
        errors = np.concatenate([found[k, off] for found in runs])
        cells[f"{k} rows, {off} deviations"] = {
            "tasks": len(errors),
            "shared": round(errors[:, 0].mean(), 4),
        } | {
            way: np.round(mean_difference(errors[:, i], errors[:, 0]), 2).tolist()
            for i, way in enumerate(WAYS)
            if i > 0
        }
    return cells


def show(results):
    for name, cells in results.items():
        print(name)
        for case, cell in cells.items():
            changes = "; ".join(
                f"{way} {cell[way][0]:+.1f} +- {cell[way][1]:.1f} %" for way in WAYS[1:]
            )
            print(f"  {case:22s} {cell['shared']:.4f}; {changes}")


if __name__ == "__main__":
    _set_by_set.main(__doc__, run, summary, show, lambda folder: SETS, n_seeds=2)
