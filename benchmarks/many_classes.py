"""Many classes: how long fits take, and how new tasks of real sets are predicted.

    python benchmarks/many_classes.py [--data FOLDER] [--sets NAME ...] [--seeds 0 1]
       [--save results/many_classes.json]

The times are CPU seconds of one thread for drawn tasks: of `SIZES` (tasks, rows,
classes, columns). Adapting is the mean of some tasks and of the given numbers of rows.

With FOLDER, which `_task_sets.py` describes, models are fitted on the sets of many
classes by the protocol of `leaderboard.py`, and compared with its rivals `RIVALS`. For
each number of rows the best rival is picked by its result, in its favour. Differences
are in % of its loss, with 95 % t intervals over tasks.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import _results
import _rivals
import _task_sets as task_sets
import numpy as np
from _ours import Ours, boosting, empirical_bayes, forest
from _scoring import N_DRAWS, few_shot, mean_difference

import skmeta

SIZES = {
    "6 classes, 44 columns": (36, 200, 6, 44),
    "20 classes, 10 columns": (60, 30, 20, 10),
}
GIVEN, N_TIMED = (1, 4, 8), 5
SETS = (
    "wisdm_users",
    "margarine_households",
    "catsup_households",
    "cracker_households",
)
MODELS = {
    "EB": empirical_bayes(),
    "EB + boosting": empirical_bayes(boosting),
    "EB + forest": empirical_bayes(forest),
}
RIVALS = (
    *("pooled_linear+offset", "pooled_gbdt+offset", "pooled_forest+offset"),
    *("pooled_mlp+offset", "mlp_finetune", "gbdt_support_features"),
)


def draw(n_tasks, n_rows, n_classes, n_columns, seed=0):
    """Tasks whose classes differ by their own amounts in half of the columns."""
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0.3, 1.0, n_classes)[:, None] * rng.gamma(1, 0.4, n_columns)
    spread[:, ::2] = 0.0
    mean = 0.4 * rng.normal(size=spread.shape)
    tasks = []
    for _ in range(n_tasks):
        slopes = mean + spread * rng.normal(size=spread.shape)
        X = rng.normal(size=(n_rows, n_columns))
        logits = X @ slopes.T + 0.5 * rng.normal(size=n_classes)
        tasks.append((X, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)))
    return tasks


def times(size):
    """CPU seconds of a fit, and of adapting to so many rows."""
    tasks = draw(*size)
    start = time.process_time()
    model = skmeta.EmpiricalBayesClassifier(random_state=0).meta_fit(tasks)
    found = {"prior": model.prior_structure_, "fit": time.process_time() - start}
    for k in GIVEN:
        start = time.process_time()
        for X, y in tasks[:N_TIMED]:
            model.adapt(X[:k], y[:k])
        found[f"adapt to {k}"] = (time.process_time() - start) / N_TIMED
    return found


def losses(folder, name, seed):
    """By method and number of rows, the loss of each task, {id: loss}."""
    split = task_sets.draw_split(folder, name, seed)
    rivals = _rivals.rivals(True, split.fit_intercept, seed)
    field = {label: Ours(make(split)) for label, make in MODELS.items()}
    field |= {label: rivals[label] for label in RIVALS}
    found = {}
    for label, method in field.items():
        method.fit(split.train)
        for k in task_sets.shots_of(split.test):
            usable = task_sets.eligible(split.test, k)
            table = few_shot(method, split.test, usable, k, N_DRAWS, seed)
            names = [split.test[t].name for t in usable]
            found[label, k] = dict(zip(names, table[:, 0], strict=True))
    return found


def compared(runs):
    """Means, and differences from the best rival; a task counts once."""
    together = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for cell, by_task in run.items():
            for task, loss in by_task.items():
                together[cell][task].append(loss)
    table = {
        cell: np.array([np.mean(by_task[task]) for task in sorted(by_task)])
        for cell, by_task in together.items()
    }
    out = {}
    for k in sorted({k for _, k in table}):
        best = min(RIVALS, key=lambda label: table[label, k].mean())
        row = {"best rival": best, "its loss": float(table[best, k].mean())}
        for label in MODELS:
            off, half = mean_difference(table[label, k], table[best, k])
            loss = float(table[label, k].mean())
            row[label] = [round(v, 4) for v in (loss, float(off), float(half))]
        out[str(k)] = row
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of data sets")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--save", type=Path, help="file for the results, as JSON")
    args = parser.parse_args()
    results = {"cpu_seconds": {label: times(size) for label, size in SIZES.items()}}
    print(results["cpu_seconds"])
    for name in args.sets if args.data else ():
        runs = [losses(args.data, name, seed) for seed in args.seeds]
        results[name] = compared(runs)
        for k, row in results[name].items():
            print(name, k, row, flush=True)
        _results.save(args.save, results)
    _results.save(args.save, results)


if __name__ == "__main__":
    main()
