"""Do learned features pay on real tables? Hidden layers against the linear prior.

    python benchmarks/learned_features.py --data FOLDER [--sets NAME ...]
        [--seeds 0 1 2] [--save results.json]

Sets, splits, numbers of rows given and losses are those of `leaderboard.py`. Two models
per set and split: EmpiricalBayesRegressor or EmpiricalBayesClassifier as it comes, and
with one hidden layer of 32 units. Where held-out training tasks did not gain from the
hidden layer, the second model equals the first, and the table says so. Differences are
in % of the linear model's loss, paired over test tasks, with 95 % t intervals.
"""

import argparse
import time
import warnings
from pathlib import Path

import _results
import _task_sets as task_sets
from _ours import Ours, empirical_bayes
from _scoring import N_DRAWS, few_shot, mean_difference

from skmeta import LearnedFeatures

HIDDEN = (32,)


def run(folder, name, seed):
    """What both models do on one split of one set."""
    split = task_sets.draw_split(folder, name, seed)
    models, seconds = [], []
    for features in (None, LearnedFeatures(HIDDEN)):
        start = time.process_time()
        make = empirical_bayes(features=features)
        models.append(Ours(make(split)).fit(split.train))
        seconds.append(round(time.process_time() - start, 1))
    result = {
        "set": name,
        "seed": seed,
        "cpu_seconds": seconds,
        "n_feature_iter": models[1].model.n_feature_iter_,
        "losses": {},
    }
    if result["n_feature_iter"] > 0:
        for k in task_sets.shots_of(split.test):
            usable = task_sets.eligible(split.test, k)
            scores = [
                few_shot(model, split.test, usable, k, N_DRAWS, seed)
                for model in models
            ]
            result["losses"][k] = [table[:, 0].round(5).tolist() for table in scores]
    return result


def line(result):
    label = f"{result['set']:22}{result['seed']:2}"
    label += f"{result['cpu_seconds'][0]:8.1f}{result['cpu_seconds'][1]:8.1f} s"
    if result["n_feature_iter"] == 0:
        return f"{label}  not used: the linear model"
    cells = []
    for k, (linear, features) in result["losses"].items():
        difference, half = mean_difference(features, linear)
        cells.append(f"k={k}: {difference:+.1f} ± {half:.1f}")
    return f"{label}  " + ", ".join(cells)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, type=Path, help="folder of the sets")
    parser.add_argument("--sets", nargs="+", choices=task_sets.KNOWN)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--save", help="file for the results, as JSON")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    results = []
    for name in args.sets or task_sets.published(args.data):
        for seed in args.seeds:
            results.append(run(args.data, name, seed))
            print(line(results[-1]), flush=True)
            _results.save(args.save, results)


if __name__ == "__main__":
    main()
