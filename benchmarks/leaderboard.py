"""Few shots on real tables: skmeta against what a practitioner would try instead.

    python benchmarks/leaderboard.py --data FOLDER [--sets NAME ...] [--seeds 0 1 2]
        [--who ours | rivals] [--methods LABEL ...] [--jobs 2]
        [--save runs.json] [--summary results/leaderboard.json]
    python benchmarks/leaderboard.py --merge runs.json [more.json or FOLDER ...]
        [--add-to results/leaderboard.json]
    python benchmarks/leaderboard.py --show results/leaderboard.json

FOLDER holds one subfolder NAME with NAME.npz for each set. `_task_sets.py` says what is
in it and how it is split, and `make_task_sets.py` builds many of the sets. Without
``--sets`` all published sets that FOLDER holds take part.

Two thirds of the tasks are trained on (150 at most, of up to 80 rows), 50 of the others
tested. Of each test task k rows are given (screens, for the choice sets), three times,
and up to 100 of the rest predicted; the rows given for a small k are among those given
for a larger one. What is reported is the mean over test tasks of the root mean squared
error in standard deviations of y, or of the log loss; differences are paired over
tasks, with 95 % t intervals. Seeds are splits of the tasks: a task that several of them
test counts once, with its mean loss. No correction is made for the many comparisons:
of 100 cells without a difference about five get a star. The intervals take tasks as
independent, and do not know the choice of training tasks.

Our models are the rows of `CONFIGS` in `_ours.py`. "chosen" takes for each number of
rows the one of `CANDIDATES` that has the lowest loss in 3-fold cross-validation over
training tasks. The rivals are in `_rivals.py`. "Out of the box" leaves out the mixed
models, which no package applies to a new task without code of one's own. The best rival
is picked by the result on the test tasks, for each set and k, in the rivals' favour.

``--save`` keeps the losses of all tasks, so that runs can be merged: of several sets
and splits, or of several methods on the same split, whose losses are then paired task
by task. So the rivals (``--who rivals``) need to run only once while our models change.
Of a method that several runs have, the last one counts. ``--summary`` keeps what the
tables print, and ``--show`` prints them from it; ``--add-to`` puts sets that it does
not have yet into such a file. Seconds are those of the CPU.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import _board
import _results
import _rivals
import _task_sets as task_sets
import numpy as np
from _ours import CANDIDATES, CONFIGS, Ours
from _scoring import N_DRAWS, few_shot
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning

N_CV_DRAWS, N_FOLDS = 2, 3


# -- one set --------------------------------------------------------------------------


def run(folder, name, seed, who="all", labels=None):
    """Everything about one set and one split of its tasks.

    ``who`` and ``labels`` say which of the methods take part.
    """
    warnings.simplefilter("ignore", ConvergenceWarning)
    split = task_sets.draw_split(folder, name, seed)
    field = contenders(split, seed, who, labels)
    shots = task_sets.shots_of(split.test)
    usable = {k: task_sets.eligible(split.test, k) for k in shots}
    result = {
        "set": name,
        "seed": seed,
        "classification": split.classification,
        "n_classes": n_classes(split),
        "y_scale": split.y_scale,
        "n_train": len(split.train),
        "n_test": len(split.test),
        "tasks": {k: [split.test[t].name for t in usable[k]] for k in shots},
        **{key: {} for key in ("means", "accuracy", "coverage", "seconds", "losses")},
        "needs_blup": [],
    }
    for label, method in field.items():
        if getattr(method, "needs_blup", False):
            result["needs_blup"].append(label)
        start = time.process_time()
        method.fit(split.train)
        fitted = time.process_time()
        scores = {
            k: few_shot(method, split.test, usable[k], k, N_DRAWS, seed) for k in shots
        }
        done = time.process_time()
        result["seconds"][label] = [round(fitted - start, 2), round(done - fitted, 2)]
        store(result, label, scores)
    if who != "rivals" and (labels is None or _board.CHOSEN in labels):
        choose(result, split, shots, seed)
    return as_json(result)


def as_json(result):
    """As it will be read back: keys are strings."""
    return json.loads(json.dumps(result))


def n_classes(split):
    if not split.classification:
        return 0
    return int(1 + max(task.y.max() for task in split.train))


def contenders(split, seed, who="all", labels=None):
    """The methods that take part, by name: ours, rivals or all, or those of labels."""
    field = {}
    if who != "rivals":
        field |= {label: Ours(make(split)) for label, make in CONFIGS.items()}
    if who != "ours":
        field |= _rivals.rivals(split.classification, split.fit_intercept, seed)
        if n_classes(split) == 2:
            field |= _rivals.binary_mixed_model(split.fit_intercept)
    if labels is None:
        return field
    return {label: method for label, method in field.items() if label in labels}


def store(result, label, scores):
    """Put the scores of a method by number of shots into the result."""
    for column, key in ((0, "means"), (1, "accuracy"), (2, "coverage")):
        by_shots = {k: float(np.mean(table[:, column])) for k, table in scores.items()}
        kept = {k: round(v, 5) for k, v in by_shots.items() if np.isfinite(v)}
        if kept:
            result[key][label] = kept
    result["losses"][label] = {
        k: table[:, 0].round(5).tolist() for k, table in scores.items()
    }


def choose(result, split, shots, seed):
    """Tell which configuration cross-validation chooses at each k."""
    start = time.process_time()
    losses = cross_validated(split, shots, seed)
    result["chosen"], result["cv"] = {}, {}
    best = CANDIDATES[0]
    for k in shots:
        # Where no left-out task has the rows, the choice for fewer rows stays.
        if losses[k]:
            by_label = dict(zip(CANDIDATES, np.mean(losses[k], axis=0), strict=True))
            result["cv"][k] = {label: round(v, 5) for label, v in by_label.items()}
            best = min(by_label, key=by_label.get)
        result["chosen"][k] = best
    result["seconds"][_board.CHOSEN] = [round(time.process_time() - start, 2), 0.0]


def cross_validated(split, shots, seed):
    """By number of shots, the losses of the candidates on left-out training tasks."""
    losses = {k: [] for k in shots}
    for fold in range(N_FOLDS):
        train = [task for t, task in enumerate(split.train) if t % N_FOLDS != fold]
        left_out = split.train[fold::N_FOLDS]
        if split.classification:
            train, left_out = task_sets.relabelled(train, left_out)
        fitted = [Ours(CONFIGS[label](split)).fit(train) for label in CANDIDATES]
        for k in shots:
            usable = task_sets.eligible(left_out, k, n_needed=1)
            columns = [
                few_shot(method, left_out, usable, k, N_CV_DRAWS, seed)[:, 0]
                for method in fitted
            ]
            losses[k].extend(np.transpose(columns))
    return losses


# -- command line ---------------------------------------------------------------------


def load(paths):
    runs = []
    for path in paths:
        for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
            runs += _results.load(file)
    return runs


def compute(folder, names, args):
    """Results as they come."""
    jobs = (
        delayed(run)(folder, name, seed, args.who, args.methods)
        for name in names
        for seed in args.seeds
    )
    return Parallel(args.jobs, return_as="generator_unordered")(jobs)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of data sets")
    parser.add_argument("--sets", nargs="+", choices=task_sets.KNOWN)
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--who", choices=["all", "ours", "rivals"], default="all")
    parser.add_argument("--methods", nargs="+", help="only the rows of these names")
    parser.add_argument("--jobs", type=int, default=1, help="sets at a time")
    parser.add_argument("--save", type=Path, help="file for the runs, as JSON")
    parser.add_argument("--summary", type=Path, help="file for their summary")
    parser.add_argument(
        "--merge", type=Path, nargs="+", default=[], help="saved runs, or folders"
    )
    parser.add_argument("--add-to", type=Path, help="summary that gets further sets")
    parser.add_argument("--show", type=Path, help="print a saved summary")
    parser.add_argument("--user-units", action="store_true", help="of regression")
    args = parser.parse_args()
    if not (args.data or args.merge or args.show):
        parser.error("give --data to compute results, --merge or --show for saved ones")
    return args


def main():
    args = arguments()
    if args.show:
        _board.show(_results.load(args.show), args.user_units)
        return
    runs = load(args.merge)
    if args.data:
        names = args.sets or task_sets.published(args.data)
        for one in compute(args.data, names, args):
            runs.append(one)
            _results.save(args.save, runs)
            print(f"{one['set']}, seed {one['seed']}: done", flush=True)
    runs, left_out = _board.merged(runs)
    if left_out:
        names = ", ".join(f"{one['set']} (seed {one['seed']})" for one in left_out)
        print(f"Not in the tables, which need the chosen row and the rivals: {names}")
    if not runs:
        return
    found = _board.summary(runs)
    _results.save(args.summary, found)
    if args.add_to:
        found = _board.with_more(_results.load(args.add_to), found)
        _results.save(args.add_to, found)
    _board.show(found, args.user_units)


if __name__ == "__main__":
    main()
