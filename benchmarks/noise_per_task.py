"""What a noise of its own for each task is worth, on real sets of tasks.

    python benchmarks/noise_per_task.py --data FOLDER [--sets NAME ...] [--out FILE]
    python benchmarks/noise_per_task.py --show FILE

For each set of `_task_sets.REGRESSION` and each seed, `EmpiricalBayesRegressor` learns
from some tasks with ``noise="shared"``, "task" and "auto". It is adapted to k rows of
each other task, for N_DRAWS draws of these rows, and predicts the task's other rows.

The table compares "task" and "auto" with "shared": by how much the mean log density of
a row is larger (in nats), and the root mean squared error (in per cent of that of
"shared"), with half a 95 % interval of the paired differences over tasks. The shares
are those of rows in intervals of 90 %, and of tasks whose intervals hold less than 75 %
of the rows. A task that is drawn for several seeds counts each time. Set
OMP_NUM_THREADS=1: the times are CPU seconds.
"""

from time import process_time

import _set_by_set
import _task_sets
import numpy as np
from scipy.stats import t as student

from skmeta import EmpiricalBayesRegressor

NOISES = ("shared", "task", "auto")
SHOTS = (2, 4, 8)
N_DRAWS = 2
COVERAGE, TOO_FEW = 0.9, 0.75
SCORES = ("log density", "error", "covered")


def scores(model, task, k, seed):
    """Log density, error and share in the intervals, as means over draws."""
    found = []
    for draw in range(N_DRAWS):
        (X, y), (X_new, y_new) = _task_sets.support_and_query(task, k, (*seed, draw))
        adapted = model.adapt(X, y)
        scaling = model._scaling
        density = adapted._learned.log_density(
            scaling.transform_X(X_new),
            (y_new - scaling.y_mean) / scaling.y_scale,
            present=adapted._present,
        ) - np.log(scaling.y_scale)
        low, high = adapted.predict_interval(X_new, COVERAGE).T
        error = np.sqrt(np.mean((adapted.predict(X_new) - y_new) ** 2))
        held = np.mean((low <= y_new) & (y_new <= high))
        found.append((density.mean(), error, held))
    return np.mean(found, axis=0)


def run(folder, name, seed):
    """Scores {noise: {k: (T, 3)}}, times of fitting and of adapting, and the choice."""
    split = _task_sets.draw_split(folder, name, seed)
    tasks = [(task.X, task.y) for task in split.train]
    found, times, chosen = {}, {}, None
    for noise in NOISES:
        start = process_time()
        model = EmpiricalBayesRegressor(noise=noise, random_state=0).meta_fit(tasks)
        fitted = process_time() - start
        chosen = "task" if hasattr(model, "noise_weights_") else "shared"
        if noise == "auto":  # it is one of the two models that have been scored
            found[noise] = found[chosen]
        else:
            found[noise] = {
                k: [
                    scores(model, split.test[t], k, (seed, t)).tolist()
                    for t in _task_sets.eligible(split.test, k)
                ]
                for k in SHOTS
            }
        rows = split.test[0].X[:4], split.test[0].y[:4]
        start = process_time()
        for _ in range(50):
            model.adapt(*rows)
        times[noise] = [round(fitted, 3), round((process_time() - start) / 50, 6)]
    return {"scores": found, "seconds": times, "auto": chosen}


def mean_and_half(d):
    d = np.asarray(d)
    return d.mean(), student.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))


def compare(runs, noise, k):
    """One line of the table: what a noise changes after k rows; None without tasks."""
    new, old = (
        np.array([row for run in runs for row in run["scores"][name][k]])
        for name in (noise, "shared")
    )
    if len(new) < 2:
        return None
    error = np.array(mean_and_half(new[:, 1] - old[:, 1])) / old[:, 1].mean() * 100
    held, too_few = (
        [100 * share(c[:, 2]) for c in (old, new)]
        for share in (np.mean, lambda c: np.mean(c < TOO_FEW))
    )
    cell = {
        "tasks": len(new),
        "log density": mean_and_half(new[:, 0] - old[:, 0]),
        "error": error,
        "held": held,
        "too few": too_few,
    }
    return {key: np.round(value, 4).tolist() for key, value in cell.items()}


def summary(runs):
    """What is kept of the runs of a set."""
    cells = {
        noise: {str(k): compare(runs, noise, k) for k in SHOTS} for noise in NOISES[1:]
    }
    seconds = {noise: [run["seconds"][noise] for run in runs] for noise in NOISES}
    return {"cells": cells, "seconds": seconds, "auto": [run["auto"] for run in runs]}


def show(results):
    for noise in NOISES[1:]:
        print(f"\nnoise={noise!r} against 'shared'")
        print("set, k: log density; error in %; rows held; tasks held below 75 %")
        wins = np.zeros((2, 3), dtype=int)
        for name, found in results.items():
            for k, cell in found["cells"][noise].items():
                if cell is None:
                    continue
                density, error = cell["log density"], cell["error"]
                for i, sign in enumerate((1, -1)):
                    mean, half = (density, error)[i]
                    better, worse = sign * mean > half, sign * mean < -half
                    wins[i, 0 if better else 2 if worse else 1] += 1
                print(
                    f"{name:20s} {k}: {density[0]:+.3f} +- {density[1]:.3f};"
                    f" {error[0]:+5.1f} +- {error[1]:.1f};"
                    f" {cell['held'][0]:.1f} -> {cell['held'][1]:.1f};"
                    f" {cell['too few'][0]:.1f} -> {cell['too few'][1]:.1f}"
                )
        print("better, level, worse: log density", wins[0], "error", wins[1])
    for noise in NOISES[1:]:
        ratios = [
            np.divide(found["seconds"][noise], found["seconds"]["shared"])
            for found in results.values()
        ]
        fit, adapt = np.median(np.concatenate(ratios), axis=0)
        print(f"{noise}: time of fitting x {fit:.1f}, of adapting x {adapt:.1f}")
    for name, found in results.items():
        print(f"auto, {name}: {found['auto']}")


def regression_sets(folder):
    there = _task_sets.published(folder)
    return [name for name in _task_sets.REGRESSION if name in there]


if __name__ == "__main__":
    _set_by_set.main(__doc__, run, summary, show, regression_sets, n_seeds=5)
