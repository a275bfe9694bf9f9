"""Few shots on real tables: skmeta against what a practitioner would try instead.

    python benchmarks/leaderboard.py --data FOLDER [--sets NAME ...] [--seeds 0 1 2]
        [--save results.json] [--jobs 2]
    python benchmarks/leaderboard.py --merge results.json [more.json or FOLDER ...]

FOLDER holds one subfolder NAME with NAME.npz per set (`_task_sets.py` says what is in
it and how it is split). Two thirds of the tasks are trained on (150 at most, of up to
80 rows), 50 of the others tested. Of each test task k rows are given (screens, for the
choice sets), three times, and up to 100 of the rest predicted; the rows given for a
small k are among those given for a larger one. What is reported is the mean over test
tasks of the root mean squared error in standard deviations of y, or of the log loss;
differences are paired over tasks, with 95 % t intervals. Seeds are splits of the tasks:
a task that several of them test counts once, with its mean loss. No correction is made
for the many comparisons: of 100 cells without a difference about five get a star. The
intervals take tasks as independent, and do not know the choice of training tasks.

Ours are the rows of `CONFIGS`; "chosen" takes for each number of rows the one of
`CANDIDATES` that has the lowest loss in 3-fold cross-validation over training tasks.
The rivals are in `_rivals.py`. "Out of the box" leaves out the mixed models, which no
package applies to a new task without code of one's own. The best rival is picked by the
result on the test tasks, for each set and k, in the rivals' favour.
"""

import argparse
import json
import time
import warnings
from collections import defaultdict
from pathlib import Path

import _rivals
import _task_sets as task_sets
import numpy as np
from joblib import Parallel, delayed
from scipy.stats import rankdata
from scipy.stats import t as student
from sklearn.base import clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning

import skmeta

N_DRAWS, N_CV_DRAWS, N_FOLDS = 3, 2, 3
DIVERGED = 1e6  # standard deviations: no error counts more
CHOSEN = "ours: chosen"
COVERAGE, COVERAGE_SHOTS = 0.9, (2, 4, 8)


# -- ours -----------------------------------------------------------------------------


def empirical_bayes(base=None, *, offsets=False, **params):
    """A maker of an empirical Bayes model on the base that ``base`` makes.

    With ``offsets`` only the intercepts of a task differ, where there are any.
    """

    def make(split):
        kind = (
            skmeta.EmpiricalBayesClassifier
            if split.classification
            else skmeta.EmpiricalBayesRegressor
        )
        return kind(
            prior="intercept" if offsets and split.fit_intercept else "auto",
            base_estimator=base and base(split),
            fit_intercept=split.fit_intercept,
            random_state=0,
            **params,
        )

    return make


def boosting(split):
    kind = (
        HistGradientBoostingClassifier
        if split.classification
        else HistGradientBoostingRegressor
    )
    return kind(
        max_iter=100,
        learning_rate=0.05,
        max_leaf_nodes=8,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=0,
    )


def forest(split):
    kind = RandomForestClassifier if split.classification else RandomForestRegressor
    return kind(60, min_samples_leaf=5, max_features=0.5, random_state=0)


def reptile(split):
    kind = skmeta.ReptileClassifier if split.classification else skmeta.ReptileRegressor
    return kind(random_state=0)


def boosting_first(split):
    """Boosting of y itself; then the rest, or of labels only each task's offsets."""
    if not split.classification:
        return empirical_bayes(boosting, base_target="y")(split)
    return empirical_bayes(boosting, offsets=True)(split)


CONFIGS = {
    "ours: EB": empirical_bayes(),
    "ours: EB + boosting": empirical_bayes(boosting),
    "ours: EB + forest": empirical_bayes(forest),
    "ours: boosting first": boosting_first,
    "ours: Reptile": reptile,
}
CANDIDATES = tuple(label for label in CONFIGS if label != "ours: Reptile")


class Ours:
    """A meta-learner behind the rivals' verbs."""

    def __init__(self, model):
        self.model = model

    def fit(self, tasks):
        self.model = clone(self.model).meta_fit([(task.X, task.y) for task in tasks])
        return self

    def adapt(self, X, y):
        return self.model.adapt(X, y) if len(y) else self.model


# -- one set --------------------------------------------------------------------------


def run(folder, name, seed):
    """Everything about one set and one split of its tasks."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    split = task_sets.draw_split(folder, name, seed)
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
    for label, method in contenders(split, seed).items():
        if getattr(method, "needs_blup", False):
            result["needs_blup"].append(label)
        start = time.perf_counter()
        method.fit(split.train)
        fitted = time.perf_counter()
        scores = {
            k: few_shot(method, split.test, usable[k], k, N_DRAWS, seed) for k in shots
        }
        done = time.perf_counter()
        result["seconds"][label] = [round(fitted - start, 2), round(done - fitted, 2)]
        store(result, label, scores)
    choose(result, split, shots, seed)
    return as_json(result)


def as_json(result):
    """As it will be read back: keys are strings."""
    return json.loads(json.dumps(result))


def n_classes(split):
    if not split.classification:
        return 0
    return int(1 + max(task.y.max() for task in split.train))


def contenders(split, seed):
    field = {label: Ours(make(split)) for label, make in CONFIGS.items()}
    field |= _rivals.rivals(split.classification, split.fit_intercept, seed)
    if n_classes(split) == 2:
        field |= _rivals.binary_mixed_model(split.fit_intercept)
    return field


def few_shot(method, tasks, usable, k, n_draws, seed):
    """Loss, accuracy and coverage of each usable task: means over draws, (n_tasks, 3).

    NaN where there is none.
    """
    scores = []
    for t in usable:
        draws = []
        for draw in range(n_draws):
            given, (X, y) = task_sets.support_and_query(tasks[t], k, (seed, t, draw))
            draws.append(score(method.adapt(*given), X, y, k))
        scores.append(np.mean(draws, axis=0))
    return np.array(scores).reshape(-1, 3)


def score(model, X, y, k):
    if np.issubdtype(y.dtype, np.integer):
        p = model.predict_proba(X)
        loss = -np.log(np.maximum(p[np.arange(len(y)), y], 1e-15)).mean()
        return loss, np.mean(p.argmax(axis=1) == y), np.nan
    loss = min(np.sqrt(np.mean((model.predict(X) - y) ** 2)), DIVERGED)
    covered = np.nan
    if k in COVERAGE_SHOTS and hasattr(model, "predict_interval"):
        lower, upper = model.predict_interval(X, coverage=COVERAGE).T
        covered = np.mean((lower <= y) & (y <= upper))
    return loss, np.nan, covered


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
    """Fill the row of the configuration that cross-validation chooses at each k."""
    start = time.perf_counter()
    losses = cross_validated(split, shots, seed)
    result["chosen"], result["cv"] = {}, {}
    best = CANDIDATES[0]
    for k in shots:
        if losses[k]:  # else that of the next smaller number of rows
            by_label = dict(zip(CANDIDATES, np.mean(losses[k], axis=0), strict=True))
            result["cv"][k] = {label: round(v, 5) for label, v in by_label.items()}
            best = min(by_label, key=by_label.get)
        result["chosen"][k] = best
    for key in ("means", "accuracy", "coverage", "losses"):
        rows = {
            k: result[key][label][k]
            for k, label in result["chosen"].items()
            if k in result[key].get(label, {})
        }
        if rows:
            result[key][CHOSEN] = rows
    result["seconds"][CHOSEN] = [round(time.perf_counter() - start, 2), 0.0]


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


# -- results of several sets and splits -----------------------------------------------


class Results:
    """Losses per task of all runs of one set; each task counts once."""

    def __init__(self, runs):
        self.runs, first = runs, runs[0]
        self.name, self.classification = first["set"], first["classification"]
        self.n_classes = first["n_classes"]
        shots = set.intersection(*(set(one["tasks"]) for one in runs))
        self.shots = sorted(map(int, shots))
        self.methods = [m for m in first["means"] if all(m in r["means"] for r in runs)]
        self.mixed = [m for m in first["needs_blup"] if m in self.methods]
        ours = [m for m in self.methods if m.startswith("ours")]
        self.ours = sorted(ours, key=lambda m: m != CHOSEN)
        self.rivals = [m for m in self.methods if m not in ours]
        self.out_of_the_box = [m for m in self.rivals if m not in self.mixed]
        self.pooled = [
            m for m in self.rivals if m.startswith("pooled") and "offset" not in m
        ]
        self._losses = {}

    def losses(self, method, k):
        """Loss of each task, in the order of their names."""
        if (method, k) not in self._losses:
            by_task = defaultdict(list)
            for one in self.runs:
                names, losses = one["tasks"][str(k)], one["losses"][method][str(k)]
                for name, loss in zip(names, losses, strict=True):
                    by_task[name].append(loss)
            self._losses[method, k] = np.array(
                [np.mean(by_task[task]) for task in sorted(by_task)]
            )
        return self._losses[method, k]

    def mean(self, method, k):
        return self.losses(method, k).mean()

    def best(self, methods, k):
        return min(methods, key=lambda m: self.mean(m, k))

    def difference(self, a, b, k):
        """Loss of a less that of b in % of b's, and the half width of its interval."""
        d = self.losses(a, k) - self.losses(b, k)
        half = student.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
        return 100 * np.array([d.mean(), half]) / self.mean(b, k)

    def outcome(self, a, b, k):
        """0, 1 or 2: a wins, ties or loses."""
        difference, half = self.difference(a, b, k)
        if abs(difference) <= half or difference == 0:
            return 1
        return 0 if difference < 0 else 2

    def average(self, key, method, k):
        """Mean over the splits of a number that is kept per split, or None."""
        values = [one[key].get(method, {}).get(str(k)) for one in self.runs]
        values = [value for value in values if value is not None]
        return np.mean(values) if values else None

    def in_user_units(self, method, k):
        return np.mean(
            [one["means"][method][str(k)] * one["y_scale"] for one in self.runs]
        )


def collect(runs):
    by_set = defaultdict(dict)
    for one in runs:
        by_set[one["set"]][one["seed"]] = one
    order = [*task_sets.REGRESSION, *task_sets.CLASSIFICATION]
    return [Results(list(by_set[name].values())) for name in order if name in by_set]


def load(paths):
    runs = []
    for path in paths:
        for file in sorted(path.glob("*.json")) if path.is_dir() else [path]:
            runs += json.loads(file.read_text())
    return runs


# -- tables ---------------------------------------------------------------------------


def table(title, header, rows, width=10):
    """Print rows of cells under their header."""
    print(f"\n{title}")
    first = max([len(row[0]) for row in rows] + [len(header[0])]) + 2
    for row in (header, *rows):
        print(row[0].ljust(first) + "".join(str(c).rjust(width) for c in row[1:]))


def print_set(results, user_units=False):
    """Mean losses; a star where they differ significantly from the chosen row's."""
    first = results.runs[0]
    sd = np.mean([one["y_scale"] for one in results.runs])
    unit = "log loss (accuracy %)" if results.classification else f"RMSE / {sd:.4g}"
    if user_units and not results.classification:
        unit = "RMSE"
    rows = []
    for method in [*results.ours, *results.rivals]:
        cells = [cell(results, method, k, user_units) for k in results.shots]
        rows.append([method, *cells])
    title = (
        f"{results.name}: {unit}; {first['n_train']} tasks trained on, "
        f"{first['n_test']} tested, {len(results.runs)} split(s)"
    )
    table(title, ["rows given", *results.shots], rows, 13)
    print("chosen: " + "; ".join(f"{one['chosen']}" for one in results.runs))


def cell(results, method, k, user_units):
    value = results.mean(method, k)
    if user_units and not results.classification:
        value = results.in_user_units(method, k)
    accuracy = results.average("accuracy", method, k)
    accuracy = "" if accuracy is None else f" ({100 * accuracy:.0f})"
    star = "*" if results.outcome(method, CHOSEN, k) != 1 else " "
    return f"{value:.3f}{accuracy}{star}"


def our_methods(board):
    """Ours that ran on all sets: saved results may come from several versions."""
    return [m for m in board[0].ours if all(m in results.ours for results in board)]


def all_shots(board):
    return sorted({k for results in board for k in results.shots})


def print_wins(board):
    """Win/tie/loss of each of ours against groups of rivals, per k and for k >= 1."""
    against = {
        "best rival out of the box": lambda r: r.out_of_the_box,
        "mixed model (best of them)": lambda r: r.mixed,
        "best rival of all": lambda r: r.rivals,
    }
    for what, rivals_of in against.items():
        shots = all_shots(board)
        rows = []
        for method in our_methods(board):
            counts = {k: np.zeros(3, int) for k in shots}
            for results in board:
                for k in results.shots if rivals_of(results) else ():
                    rival = results.best(rivals_of(results), k)
                    counts[k][results.outcome(method, rival, k)] += 1
            adapted = sum((counts[k] for k in shots if k), np.zeros(3, int))
            cells = ["/".join(map(str, counts[k])) for k in shots]
            rows.append([method, *cells, "/".join(map(str, adapted))])
        table(f"wins/ties/losses against the {what}", ["k", *shots, "k>=1"], rows)


def print_lost_cells(board):
    """Every cell where a rival has the lower mean than the chosen row."""
    print(f"\nrivals with a lower mean than {CHOSEN!r} (* significantly)")
    n_cells = n_below = 0
    for results in board:
        for k in results.shots:
            n_cells += 1
            ahead = []
            for rival in results.rivals:
                difference, half = results.difference(CHOSEN, rival, k)
                if difference > 0:
                    star = "*" if difference > half else ""
                    text = f"{rival} {difference:+.1f}±{half:.1f}%{star}"
                    ahead.append((difference, text))
            n_below += bool(ahead)
            if ahead:
                text = "; ".join(line for _, line in sorted(ahead, reverse=True))
                print(f"  {results.name} k={k}: {text}")
    print(f"  in {n_below} of {n_cells} cells")


def print_ranks(board):
    """Average rank, in each group of sets, of the methods that ran on all of them."""
    groups = {
        "all sets": board,
        "regression": [r for r in board if not r.classification],
        "two classes": [r for r in board if r.n_classes == 2],
        "more classes": [r for r in board if r.n_classes > 2],
    }
    for name, members in groups.items():
        if not members:
            continue
        methods = [
            m for m in members[0].methods if all(m in r.methods for r in members)
        ]
        ranks = defaultdict(list)
        for results in members:
            for k in results.shots:
                ranks[k].append(rankdata([results.mean(m, k) for m in methods]))
        shots = sorted(ranks)
        adapted = np.concatenate([ranks[k] for k in shots if k]).mean(axis=0)
        by_shots = np.transpose([np.mean(ranks[k], axis=0) for k in shots])
        rows = [
            [methods[i], *(f"{x:.1f}" for x in by_shots[i]), f"{adapted[i]:.2f}"]
            for i in np.argsort(adapted)
        ]
        title = f"average rank, {name} ({len(members)})"
        table(title, ["k", *shots, "k>=1"], rows, 8)


def print_guards(board):
    """Where adapting cannot help, it must not hurt; nor may the start, anywhere."""
    print("\nguards: % above the best pooled model (k=0: or the mean); ! = above limit")
    for results in board:
        for k in results.shots:
            control = results.name in ("journey_conjoint", "school_ilea")
            if not (control or k == 0):
                continue
            limit = 1 if control else 2
            bar = results.pooled + (["global_mean"] if k == 0 else [])
            best = results.best(bar, k)
            cells = []
            for method in results.ours:
                difference, half = results.difference(method, best, k)
                mark = "!" if difference > limit else ""
                cells.append(f"{method[6:]} {difference:+.1f}±{half:.1f}{mark}")
            text = ", ".join(cells)
            print(f"  {results.name} k={k} (<= {limit} %, {best}): {text}")


TARGETS = {
    ("lenk_computers", 4): 1.98,
    ("lenk_computers", 8): 1.88,
    ("cheese_stores", 4): 0.263,
    ("chocolate_conjoint", 8): 3.0,
    ("tea_conjoint", 8): 2.10,
    ("orange_juice_stores", 1): 0.615,
    ("orange_juice_stores", 16): 0.465,
    ("cigar_states", 16): 0.036,
    ("camera_choice", 8): 0.300,
    ("electricity_choice", 8): 0.355,
    ("train_tickets", 8): 0.435,
    ("catsup_households", 4): 0.585,
    ("cracker_households", 4): 0.44,
    ("margarine_households", 4): 1.04,
    ("margarine_households", 8): 0.70,
    ("wisdm_users", 8): 0.52,
}
"""What prototypes reached in user units or log loss, on other tasks of these sets."""


def print_targets(board):
    rows = []
    for results in board:
        for k in results.shots:
            if (results.name, k) not in TARGETS:
                continue
            rival = results.best(results.out_of_the_box, k)
            columns = [*our_methods(board)[:2], rival]
            if results.mixed:
                columns.append(results.best(results.mixed, k))
            cells = [f"{results.in_user_units(m, k):.3f}" for m in columns]
            cells = [TARGETS[results.name, k], *cells, ""][:5]
            rows.append([f"{results.name} k={k}", *cells, f"  {rival}"])
    if rows:
        first = [method[6:] for method in our_methods(board)[:2]]
        header = ["in user units", "target", *first, "rival", "mixed", "rival"]
        table("reference figures (targets come from other tasks)", header, rows, 12)


def print_coverage(board):
    rows = []
    for results in board:
        for method in results.ours:
            cells = [results.average("coverage", method, k) for k in COVERAGE_SHOTS]
            if any(c is not None for c in cells):
                cells = ["" if c is None else f"{c:.2f}" for c in cells]
                rows.append([f"{results.name}, {method[6:]}", *cells])
    if rows:
        title = f"share of test rows within intervals of coverage {COVERAGE}"
        table(title, ["rows given", *COVERAGE_SHOTS], rows)


def print_seconds(board):
    """Median and largest time to fit and, for all draws of the test tasks, to test."""
    rows = []
    for method in dict.fromkeys(m for results in board for m in results.methods):
        times = [
            one["seconds"][method]
            for results in board
            for one in results.runs
            if method in one["seconds"]
        ]
        middle, most = np.median(times, axis=0), np.max(times, axis=0)
        cells = [middle[0], most[0], middle[1], most[1]]
        rows.append([method, *(f"{x:.2f}" for x in cells)])
    header = ["", "fit", "(max)", "test", "(max)"]
    table("seconds (chosen: its cross-validation)", header, rows)


def report(runs, user_units):
    board = collect(runs)
    for results in board:
        print_set(results, user_units)
    print_wins(board)
    print_lost_cells(board)
    print_ranks(board)
    print_guards(board)
    print_targets(board)
    print_coverage(board)
    print_seconds(board)


# -- command line ---------------------------------------------------------------------


def compute(folder, names, seeds, n_jobs):
    """Results as they come."""
    jobs = (delayed(run)(folder, name, seed) for name in names for seed in seeds)
    return Parallel(n_jobs, return_as="generator_unordered")(jobs)


def save(path, runs):
    if path:
        lines = ",\n".join(json.dumps(one) for one in runs)
        path.write_text(f"[\n{lines}\n]\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="folder of data sets")
    every = [*task_sets.REGRESSION, *task_sets.CLASSIFICATION]
    parser.add_argument("--sets", nargs="+", default=every, choices=every)
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--jobs", type=int, default=1, help="sets at a time")
    parser.add_argument("--save", type=Path, help="file for the results, as JSON")
    parser.add_argument(
        "--merge", type=Path, nargs="+", default=[], help="saved results, or folders"
    )
    parser.add_argument("--user-units", action="store_true", help="of regression")
    args = parser.parse_args()
    runs = load(args.merge)
    if args.data:
        for one in compute(args.data, args.sets, args.seeds, args.jobs):
            runs.append(one)
            save(args.save, runs)
            print(f"{one['set']}, seed {one['seed']}: done", flush=True)
    elif not runs:
        parser.error("give --data to compute results, or --merge to show saved ones")
    save(args.save, runs)
    report(runs, args.user_units)


if __name__ == "__main__":
    main()
