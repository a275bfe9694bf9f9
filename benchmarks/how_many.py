"""How many tasks, and how many rows of each, a learned prior needs.

    python benchmarks/how_many.py --data FOLDER [--sets NAME ...] [--out FILE]
    python benchmarks/how_many.py --show FILE [--figure PNG]

Models learn from 2, 5, 10, 20, 50 or 100 tasks, with 5 or 20 rows of each (or with as
many as there are). They adapt to 0 to 32 rows of tasks that they have not seen, and
predict the others. ``MADE`` lists three simulated worlds, and ``REAL`` two real sets of
`_task_sets.py`: sales in stores, and ratings of computers. ``--sets`` may name others.
Without ``--data`` the simulated worlds run alone.

Two rivals see the same tasks: one pooled model, which is a ridge regression or a
logistic regression, and ``prior="intercept"``, which learns an offset per task alone.
The third, a Bayesian ridge regression or a logistic regression, sees only the rows of
the new task. The loss is the root mean squared error of a task, or the log loss. The
tables show it in per cent of that of the pooled model that learned from most rows: the
mean over ``--seeds`` draws of the tasks, and the standard deviation over these draws.
"""

import _set_by_set
import _task_sets
import numpy as np
from _scoring import few_shot
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import BayesianRidge, LogisticRegression, RidgeCV

from skmeta import EmpiricalBayesClassifier, EmpiricalBayesRegressor

# By name: the number of columns, the deviations between tasks of the slopes and of the
# level. The mean slopes are standard normal, and so is the noise.
MADE = {
    "levels, 3 columns": (3, 0.0, 1.5),
    "slopes, 3 columns": (3, 1.0, 1.5),
    "slopes, 10 columns": (10, 1.0, 1.5),
}
REAL = ("cheese_stores", "lenk_computers")
N_TASKS = (2, 5, 10, 20, 50, 100)
N_ROWS = (5, 20)
N_TEST, N_LATER = 40, 40
SHOTS = (0, 1, 2, 4, 8, 16, 32)
SHOWN = 4
MODELS = ("learned prior", "offset", "pooled", "own rows")


def made(name, seed):
    """A split of a simulated world."""
    rng = np.random.default_rng(seed)
    n_columns, slopes, level = MADE[name]
    mean = rng.normal(size=n_columns)

    def task(number, n_rows):
        X = rng.normal(size=(n_rows, n_columns))
        theta = mean + slopes * rng.normal(size=n_columns)
        y = X @ theta + level * rng.normal() + rng.normal(size=n_rows)
        return _task_sets.Task(X, y, np.arange(n_rows), number)

    train = [task(number, max(N_ROWS)) for number in range(max(N_TASKS))]
    test = [task(number, max(SHOTS) + N_LATER) for number in range(N_TEST)]
    return _task_sets.Split(name, train, test, 1.0)


class Unchanged:
    """A model that predicts the same whatever rows are given."""

    def __init__(self, model):
        self.model = model

    def adapt(self, X, y):
        return self

    def predict(self, X):
        return self.model.predict(X)

    def predict_proba(self, X):
        return self.model.predict_proba(X)


class Adapting(Unchanged):
    """A meta-learner, which predicts as it is if no row is given."""

    def adapt(self, X, y):
        return self.model.adapt(X, y) if len(y) else self.model


class OwnRows:
    """A model of the rows given, and their mean (or an even chance) of too few."""

    def __init__(self, classification, fit_intercept):
        self.classification, self.fit_intercept = classification, fit_intercept

    def adapt(self, X, y):
        if self.classification:
            if len(np.unique(y)) < 2:
                return DummyClassifier(strategy="uniform").fit(np.zeros((2, 1)), [0, 1])
            return LogisticRegression(fit_intercept=self.fit_intercept).fit(X, y)
        if len(y) < 3:
            # The targets are standardised, so that 0 is the mean of all tasks.
            mean = y.mean() if len(y) else 0.0
            return DummyRegressor(strategy="constant", constant=mean).fit([[0]], [0])
        return BayesianRidge().fit(X, y)


def learn(kind, split, tasks):
    """A model of the tasks, each cut to the rows that it may show."""
    intercept = split.fit_intercept
    if kind == "own rows":
        return OwnRows(split.classification, intercept)
    if kind == "pooled":
        X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
        model = RidgeCV(np.logspace(-3, 3, 7))
        if split.classification:
            model = LogisticRegression(fit_intercept=intercept)
        return Unchanged(model.fit(X, y))
    cls = EmpiricalBayesClassifier if split.classification else EmpiricalBayesRegressor
    model = cls(
        "intercept" if kind == "offset" else "auto",
        fit_intercept=intercept,
        random_state=0,
    )
    return Adapting(model.meta_fit(tasks))


def run(folder, name, seed):
    """Losses {(rows per task, tasks, model, rows given): mean over test tasks}."""
    split = (
        made(name, seed) if name in MADE else _task_sets.draw_split(folder, name, seed)
    )
    test, found = split.test[:N_TEST], {}
    some = split.train[: N_TASKS[0]]
    if split.classification and len(np.unique(np.concatenate([t.y for t in some]))) < 2:
        raise ValueError(f"The first tasks of {name} have one class alone.")
    sizes = sorted({min(n, len(split.train)) for n in N_TASKS})
    for n_rows in N_ROWS:
        for n_tasks in sizes:
            tasks = [(t.X[:n_rows], t.y[:n_rows]) for t in split.train[:n_tasks]]
            most = n_rows == N_ROWS[-1] and n_tasks == sizes[-1]
            for kind in MODELS if most else MODELS[:-1]:
                model = learn(kind, split, tasks)
                for k in SHOTS:
                    usable = _task_sets.eligible(test, k)
                    if usable:
                        scores = few_shot(model, test, usable, k, 1, seed)
                        loss, _, held = scores.mean(axis=0)
                        found[n_rows, n_tasks, kind, k] = loss, held
    return found


def summary(runs):
    """Mean and deviation over the draws, by rows of a task, tasks, model, rows given.

    Losses are in per cent of the pooled model that learned from most rows.
    """
    cells, most = {}, max(key[:2] for key in runs[0])
    for n_rows, n_tasks, kind, k in runs[0]:
        if not all((n_rows, n_tasks, kind, k) in found for found in runs):
            continue  # too few tasks of a draw have so many rows
        losses = [
            100 * found[n_rows, n_tasks, kind, k][0] / found[*most, "pooled", k][0]
            for found in runs
        ]
        held = np.mean([found[n_rows, n_tasks, kind, k][1] for found in runs])
        cell = [round(np.mean(losses), 1), round(np.std(losses, ddof=1), 1)]
        if np.isfinite(held):
            cell.append(round(100 * held, 1))
        by_rows = cells.setdefault(str(n_rows), {})
        by_rows.setdefault(kind, {}).setdefault(str(k), {})[str(n_tasks)] = cell
    return cells


def show(results):
    for name, by_rows in results.items():
        print(f"\n{name}: loss in % of the pooled model, by tasks and rows of each")
        for n_rows, models in by_rows.items():
            for kind, by_shots in models.items():
                for k, cells in by_shots.items():
                    line = "  ".join(
                        f"{n}: {mean:5.1f} ({deviation:.1f})"
                        for n, (mean, deviation, *_) in cells.items()
                    )
                    print(f"{n_rows:>3} rows  {kind:14s} {k} given  {line}")


def draw(results, path):
    """One panel for each set: the loss after some rows, against the number of tasks."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    n_columns = 3
    n_lines = -(-len(results) // n_columns)
    figure, axes = plt.subplots(
        n_lines, n_columns, figsize=(9, 2.8 * n_lines), squeeze=False
    )
    styles = {
        ("learned prior", "20"): ("C0", "-", "learned prior, 20 rows of each task"),
        ("learned prior", "5"): ("C0", "--", "learned prior, 5 rows of each task"),
        ("offset", "20"): ("C1", "-", "an offset per task, 20 rows"),
        ("pooled", "20"): ("0.5", "-", "one pooled model, 20 rows"),
    }
    for ax, (name, by_rows) in zip(axes.flat, results.items(), strict=False):
        for (kind, n_rows), (color, line, label) in styles.items():
            cells = by_rows[n_rows][kind][str(SHOWN)]
            n = np.array([int(n) for n in cells])
            mean, deviation = np.array([cell[:2] for cell in cells.values()]).T
            ax.plot(n, mean, color=color, ls=line, marker="o", ms=3, label=label)
            if n_rows == "20":
                ax.fill_between(
                    n, mean - deviation, mean + deviation, color=color, alpha=0.15, lw=0
                )
        ax.set_title(name.replace("_", " "), fontsize=10)
        ax.set(xscale="log", xticks=N_TASKS, xticklabels=N_TASKS, ylim=(0, 160))
        ax.set_xlabel("tasks to learn from")
        ax.minorticks_off()
        ax.grid(alpha=0.3)
    for ax in axes[:, 0]:
        ax.set_ylabel(f"loss after {SHOWN} rows, %")
    for ax in axes.flat[len(results) :]:
        ax.axis("off")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="lower right", ncols=1)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    _set_by_set.main(
        __doc__,
        run,
        summary,
        show,
        lambda folder: (*MADE, *(REAL if folder else ())),
        n_seeds=5,
        draw=draw,
    )
