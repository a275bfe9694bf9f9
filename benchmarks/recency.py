"""What forgetting old rows is worth where the rows of a task are in order of time.

    python benchmarks/recency.py --data FOLDER [--sets NAME ...] [--out FILE]
    python benchmarks/recency.py --show FILE

The tasks are weeks of a store (a brand in a store), films in the order in which a
person rated them, or years of a state. For each seed, five models are learned, each
from four fifths of at most N_TASKS tasks, for each of three settings of
`EmpiricalBayesRegressor`: the default, ``row_order="time"`` and ``half_life="auto"``.
After every 8 rows of each other task a model is adapted to all rows of the task so far,
and predicts the next 5.

The table shows by how much per cent the root mean squared error of a task is larger
with ``half_life="auto"`` than without, on average, with half a 95 % interval of the
paired differences over tasks; a task counts once, with its mean over seeds. The same is
done with the rows of each task shuffled, where nothing is to be forgotten. Below is the
share of rows in intervals of 80 %: of the next 5 rows, and of the next 50.
"""

import _set_by_set
import _task_sets
import numpy as np
from scipy.stats import t as student

from skmeta import EmpiricalBayesRegressor

# The array of each set that holds the times of its rows.
TIMES = {
    "cheese_stores": "week",
    "orange_juice_stores": "week",
    "movielens_small": "timestamp",
    "cigar_states": "year",
}
SETTINGS = {"plain": {}, "time": {"row_order": "time"}, "auto": {"half_life": "auto"}}
N_TASKS, N_ROWS, N_FOLDS = 150, 130, 5
STEP, N_NEXT, N_LATER = 8, 5, 50
COVERAGE = 0.8
# Numbers of rows given are shown in these groups.
GROUPS = {"8": (8, 9), "16-32": (16, 33), "40-120": (40, 121)}


def tasks_in_time(folder, name, rng):
    """Tasks (X, y, cluster, id) whose rows are in order of time."""
    arrays, rows = _task_sets.read_arrays(folder, name), _task_sets.read(folder, name)
    ids = rng.permutation(np.unique(rows.task))
    X = rows.build(np.isin(rows.task, ids[N_TASKS:]))
    times, tasks = arrays[TIMES[name]], []
    for one in ids[:N_TASKS]:
        mine = np.flatnonzero(rows.task == one)
        mine = mine[np.argsort(times[mine], kind="stable")][:N_ROWS]
        if len(mine) > STEP:
            y = rows.y[mine].astype(float)
            tasks.append((X[mine], y, rows.cluster[mine[0]], int(one)))
    return tasks


def shuffled(tasks, rng):
    orders = [rng.permutation(len(task[1])) for task in tasks]
    return [(X[o], y[o], *rest) for o, (X, y, *rest) in zip(orders, tasks, strict=True)]


def folds_of(tasks, rng):
    """The number of the fold of each task; tasks of a cluster stay together."""
    clusters = np.unique([task[2] for task in tasks])
    place = dict(zip(clusters, rng.permutation(len(clusters)), strict=True))
    return np.array([place[task[2]] % N_FOLDS for task in tasks])


def scores(model, X, y):
    """Squared errors (cuts,) of the next rows, and shares held: next, later."""
    found = []
    for cut in range(STEP, len(y), STEP):
        few = model.adapt(X[:cut], y[:cut])
        later = slice(cut, cut + N_LATER)
        low, high = few.predict_interval(X[later], COVERAGE).T
        held = (low <= y[later]) & (y[later] <= high)
        error = (few.predict(X[cut : cut + N_NEXT]) - y[cut : cut + N_NEXT]) ** 2
        found.append((cut, error.mean(), held[:N_NEXT].mean(), held.mean()))
    return np.array(found)


def run(folder, name, seed):
    """Scores {order: {setting: {id: (cuts, 4)}}} and the half-lives chosen."""
    rng = np.random.default_rng(seed)
    tasks = tasks_in_time(folder, name, rng)
    fold, found, chosen = folds_of(tasks, rng), {}, {}
    for order in ("time", "shuffled"):
        settings = SETTINGS
        if order == "shuffled":
            tasks = shuffled(tasks, rng)
            settings = {key: SETTINGS[key] for key in ("plain", "auto")}
        found[order], chosen[order] = {key: {} for key in settings}, []
        for key, setting in settings.items():
            for held_out in range(N_FOLDS):
                model = EmpiricalBayesRegressor(random_state=0, **setting)
                model.meta_fit(
                    [t[:2] for t, f in zip(tasks, fold, strict=True) if f != held_out]
                )
                if key == "auto":
                    chosen[order].append(model.half_life_)
                for (X, y, _, one), f in zip(tasks, fold, strict=True):
                    if f == held_out:
                        found[order][key][one] = scores(model, X, y)
    return found, chosen


def root(errors, low=0, high=np.inf):
    """The root mean squared error of a task after some numbers of rows; NaN if none."""
    some = (errors[:, 0] >= low) & (errors[:, 0] < high)
    return np.sqrt(errors[some, 1].mean()) if some.any() else np.nan


def gain(runs, order, group=(0, np.inf)):
    """Per cent by which forgetting changes the error, half an interval, and tasks."""
    ids = sorted({one for found, _ in runs for one in found[order]["plain"]})
    plain, auto = (
        np.array(
            [
                np.nanmean(
                    [
                        root(f[order][key][one], *group)
                        for f, _ in runs
                        if one in f[order][key]
                    ]
                )
                for one in ids
            ]
        )
        for key in ("plain", "auto")
    )
    known = ~np.isnan(plain)
    d = 100 * (auto - plain)[known] / plain[known].mean()
    half = student.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return [round(d.mean(), 2), round(half, 2), len(d)]


def coverage(runs, key, group):
    """Shares of the next rows, and of later ones, in the intervals."""
    every = np.concatenate([e for f, _ in runs for e in f["time"][key].values()])
    some = (every[:, 0] >= group[0]) & (every[:, 0] < group[1])
    if not some.any():
        return None
    return np.round(100 * every[some, 2:].mean(axis=0), 1).tolist()


def summary(runs):
    """What is kept of the runs of a set."""
    return {
        "error": {
            order: {
                "all": gain(runs, order),
                **{name: gain(runs, order, group) for name, group in GROUPS.items()},
            }
            for order in ("time", "shuffled")
        },
        "held": {
            key: {name: coverage(runs, key, group) for name, group in GROUPS.items()}
            for key in SETTINGS
        },
        "half-lives": {
            order: [h if np.isfinite(h) else "inf" for _, c in runs for h in c[order]]
            for order in ("time", "shuffled")
        },
    }


def show(results):
    for order in ("time", "shuffled"):
        print("\nRows in order of time" if order == "time" else "\nRows shuffled")
        print("error with half_life='auto', in % of that without, by rows given")
        for name, found in results.items():
            cells = [
                f"{rows}: {mean:+.2f} +- {half:.2f}"
                for rows, (mean, half, _) in found["error"][order].items()
            ]
            print(f"{name:20s} {'; '.join(cells)}")
            print(f"{'':20s} half-lives {found['half-lives'][order]}")
    print("\nper cent in intervals of 80 %: of the next 5 rows, of the next 50")
    for name, found in results.items():
        for key, cells in found["held"].items():
            line = "; ".join(f"{rows}: {cell}" for rows, cell in cells.items())
            print(f"{name:20s} {key:6s} {line}")


if __name__ == "__main__":
    _set_by_set.main(__doc__, run, summary, show, lambda folder: list(TIMES), n_seeds=2)
