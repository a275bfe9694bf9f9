"""The verdict of `compare_baselines` on real sets on which the answer is known.

    python benchmarks/does_it_pay.py --data FOLDER [--sets NAME ...] [--jobs 2]
        [--save results.json]

FOLDER holds the sets of `leaderboard.py`. 150 tasks of each set, of up to 80 rows, take
part, in five folds; the model is an empirical Bayes model with its defaults. It was
known that adapting pays on the first three sets, that an offset per task is enough on
the fourth, and that the ratings of the last are noise. A set takes about half a minute.
"""

import argparse
import time
from pathlib import Path

import _results
import _task_sets as task_sets
import numpy as np

import skmeta
from skmeta.model_selection import compare_baselines

EXPECTED = {
    "cheese_stores": "meta-learn",
    "tea_conjoint": "meta-learn",
    "train_tickets": "meta-learn",
    "exam_london": "offset",
    "journey_conjoint": "pooled",
}
N_TASKS = 150


def compare(folder, name, n_jobs):
    split = task_sets.draw_split(folder, name, 0)
    tasks = (split.train + split.test)[:N_TASKS]
    kind = (
        skmeta.EmpiricalBayesClassifier
        if split.classification
        else skmeta.EmpiricalBayesRegressor
    )
    return compare_baselines(
        kind(fit_intercept=split.fit_intercept, random_state=0),
        np.concatenate([task.X for task in tasks]),
        np.concatenate([task.y for task in tasks]),
        task=np.repeat(np.arange(len(tasks)), [len(task.y) for task in tasks]),
        n_jobs=n_jobs,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(EXPECTED))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    results = {}
    for name in arguments.sets:
        start = time.perf_counter()
        comparison = compare(arguments.data, name, arguments.jobs)
        (advice,) = comparison.advice.values()
        seconds = round(time.perf_counter() - start, 1)
        print(f"\n== {name}, {seconds} s\n\n{comparison}\n")
        print(f"advice: {advice}; expected: {EXPECTED.get(name, '?')}")
        results[name] = {
            "advice": advice,
            "verdict": comparison.verdict,
            "n_support": comparison.n_support.tolist(),
            "n_tasks": len(comparison.tasks),
            "scores": {
                m: comparison.mean(m).round(5).tolist() for m in comparison.scores
            },
            "seconds": seconds,
        }
    _results.save(arguments.save, results)


if __name__ == "__main__":
    main()
