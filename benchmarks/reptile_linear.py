"""Linear Reptile and the diagonal Gaussian prior: one model, learned in two ways.

    python benchmarks/reptile_linear.py --data FOLDER [--sets NAME ...] [--seeds 0 1 2]
        [--save results/reptile_linear.json] [--runs runs.json]
    python benchmarks/reptile_linear.py --merge runs.json [...] [--save ...]

FOLDER holds the data sets; `_task_sets.py` says in which format and how they are split.
Both models have their defaults, except that the prior is diagonal, with one noise for
all tasks and no shared columns, which makes it the model that Reptile learns; the sets
of choices have no intercept. k rows (screens) of each test task are given, three times.
A loss is the root mean squared error in standard deviations of y, or the log loss.

For each set and k two differences are paired over tasks, with 95 % t intervals: Reptile
less the prior, and Reptile after k rows less Reptile after none, on the tasks that have
k rows. Seeds are splits of the tasks; a task that several of them test counts once. A
star marks what is significantly worse, a plus what is significantly better.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import _results
import _task_sets as task_sets
import numpy as np
from _ours import Ours
from _scoring import N_DRAWS, few_shot, mean_difference

import skmeta

DIAGONAL, REPTILE = "diagonal prior", "Reptile, linear"


def contenders(split):
    kind = "Classifier" if split.classification else "Regressor"
    options = {"fit_intercept": split.fit_intercept, "random_state": 0}
    prior = getattr(skmeta, f"EmpiricalBayes{kind}")
    reptile = getattr(skmeta, f"Reptile{kind}")
    same = {"prior": "diagonal", "varying": "all"}
    if not split.classification:
        same["noise"] = "shared"
    return {
        DIAGONAL: Ours(prior(**same, **options)),
        REPTILE: Ours(reptile(**options)),
    }


def run(folder, name, seed):
    """Losses and seconds of one set and one split of its tasks."""
    split = task_sets.draw_split(folder, name, seed)
    shots = task_sets.shots_of(split.test)
    usable = {k: task_sets.eligible(split.test, k) for k in shots}
    result = {
        "set": name,
        "seed": seed,
        "tasks": {str(k): [split.test[t].name for t in usable[k]] for k in shots},
        "losses": {},
        "seconds": {},
    }
    for label, method in contenders(split).items():
        start = time.process_time()
        method.fit(split.train)
        result["seconds"][label] = round(time.process_time() - start, 2)
        result["losses"][label] = {
            str(k): few_shot(method, split.test, usable[k], k, N_DRAWS, seed)[:, 0]
            .round(5)
            .tolist()
            for k in shots
        }
    return result


# -- what the runs say together -------------------------------------------------------


def task_losses(runs, label, k):
    """Loss of each task {name: loss}, as a mean over the runs that test it."""
    by_task = defaultdict(list)
    for one in runs:
        for name, loss in zip(one["tasks"][k], one["losses"][label][k], strict=True):
            by_task[name].append(loss)
    return {name: float(np.mean(losses)) for name, losses in by_task.items()}


def paired(a, b):
    """Loss of a less that of b, in % of b's, and half of its interval."""
    tasks = sorted(a.keys() & b.keys())
    return mean_difference([a[t] for t in tasks], [b[t] for t in tasks])


def cells(runs):
    """Each set and k: the losses and the two differences."""
    by_set = defaultdict(list)
    for one in runs:
        by_set[one["set"]].append(one)
    found = []
    for name, of_set in by_set.items():
        shots = set.intersection(*(set(one["tasks"]) for one in of_set))
        for k in sorted(shots, key=int):
            ours, prior = (task_losses(of_set, m, k) for m in (REPTILE, DIAGONAL))
            cell = {"set": name, "k": int(k)}
            cell["losses"] = [np.mean(list(x.values())) for x in (ours, prior)]
            cell["to diagonal"] = paired(ours, prior).tolist()
            if k != "0":
                start = task_losses(of_set, REPTILE, "0")
                cell["to own start"] = paired(ours, start).tolist()
            found.append(cell)
    return found


def mark(difference, half):
    if abs(difference) <= half or difference == 0:
        return " "
    return "*" if difference > 0 else "+"


def summary(runs):
    table = cells(runs)
    adapted = [cell for cell in table if cell["k"] > 0]
    marks = [mark(*cell["to diagonal"]) for cell in adapted]
    own = [mark(*cell["to own start"]) for cell in adapted]
    seconds = np.array(
        [[one["seconds"][m] for m in (REPTILE, DIAGONAL)] for one in runs]
    )
    return {
        "sets": sorted({one["set"] for one in runs}),
        "seeds": sorted({one["seed"] for one in runs}),
        "mean % to diagonal": round(
            float(np.mean([cell["to diagonal"][0] for cell in adapted])), 2
        ),
        "wins, ties, losses": [marks.count(m) for m in "+ *"],
        "cells worse than no row": own.count("*"),
        "seconds of CPU to fit": seconds.mean(axis=0).round(2).tolist(),
        "cells": [
            {
                key: np.round(value, 4).tolist() if isinstance(value, list) else value
                for key, value in cell.items()
            }
            for cell in table
        ],
    }


def show(found):
    print(
        f"{'set':22}{'k':>3}{'Reptile':>10}{'diagonal':>10}{'%':>12}{'own k=0 %':>14}"
    )
    for cell in found["cells"]:
        line = f"{cell['set']:22}{cell['k']:3}"
        line += "".join(f"{loss:10.4f}" for loss in cell["losses"])
        for key in ("to diagonal", "to own start"):
            if key in cell:
                line += "{:8.2f} ±{:5.2f}".format(*cell[key]) + mark(*cell[key])
        print(line)
    for key in list(found)[2:-1]:
        print(f"{key}: {found[key]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of data sets")
    parser.add_argument("--sets", nargs="+", choices=task_sets.KNOWN)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--merge", type=Path, nargs="+", default=[], help="saved runs")
    parser.add_argument("--runs", type=Path, help="file for the losses of all tasks")
    parser.add_argument("--save", type=Path, help="file for the summary, as JSON")
    args = parser.parse_args()
    runs = [one for file in args.merge for one in _results.load(file)]
    if args.data:
        for name in args.sets or task_sets.published(args.data):
            for seed in args.seeds:
                runs.append(run(args.data, name, seed))
                _results.save(args.runs, runs)
    found = summary(runs)
    _results.save(args.save, found)
    show(found)


if __name__ == "__main__":
    main()
