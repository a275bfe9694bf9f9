"""Do learned inner rates close the gap to a mixed model? On real many-task tables.

    python benchmarks/learned_rates.py --data FOLDER

FOLDER holds the data sets; `_task_sets.py` says in which format. Two thirds of the
tasks are trained on (150 at most), and the others tested (60 at most), with up to 80
rows each. k random rows of each test task are given, three times, and the rest are
predicted.

The rows of the tables: pooled ridge or logistic regression; pooled ridge plus a
shrunken offset per task; a mixed model (random intercept and independent random slopes
by EM, adapted by its exact posterior mean); Reptile with one fixed rate, with rates
learned per layer and per parameter, all with the defaults otherwise, with the number of
steps chosen on held-out tasks, and with two hidden layers of 32 units.

Numbers are the mean over test tasks of the root mean squared error in standard
deviations of y, or of the log loss. A star marks what differs from Reptile's default
("linear, parameter") by more than a 95 % interval paired over tasks.
"""

import argparse
from pathlib import Path

import _results
import numpy as np
from _mixed_models import MixedModel
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import ReptileClassifier, ReptileRegressor

REGRESSION = (
    "lenk_computers",
    "cheese_stores",
    "chocolate_conjoint",
    "tea_conjoint",
    "orange_juice_stores",
    "cigar_states",
    "school_ilea",
    "journey_conjoint",
)
CLASSIFICATION = ("train_tickets", "bank_cards", "cracker_households", "wisdm_users")
DEFAULT = "linear, parameter"
SHOTS = (1, 4, 8, 16)
MAX_ROWS = 80
N_DRAWS = 3
MIN_QUERY = 5


# -- the rivals: fit(tasks) and predict(support, query) -------------------------------


class Pooled:
    """One model for all tasks."""

    def __init__(self, classification):
        model = LogisticRegression(max_iter=1000) if classification else Ridge()
        self.model = make_pipeline(StandardScaler(), model)

    def fit(self, tasks):
        X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
        self.model.fit(X, y)
        return self

    def adapt(self, X, y):
        return self.model


class Offset(Pooled):
    """Pooled model plus the task's mean residual, shrunken by n / (n + c)."""

    def fit(self, tasks):
        super().fit(tasks)
        residuals = [y - self.model.predict(X) for X, y in tasks]
        within = np.mean([r.var(ddof=1) for r in residuals if len(r) > 1])
        means = [r.mean() for r in residuals]
        noise = within * np.mean([1 / len(r) for r in residuals])
        self.c = within / max(np.var(means) - noise, 1e-9 * within)
        return self

    def adapt(self, X, y):
        offset = np.sum(y - self.model.predict(X)) / (len(y) + self.c)
        return Shifted(self.model, offset)


class Shifted:
    def __init__(self, model, offset):
        self.model, self.offset = model, offset

    def predict(self, X):
        return self.model.predict(X) + self.offset


class Reptile:
    def __init__(self, classification, **params):
        kind = ReptileClassifier if classification else ReptileRegressor
        self.model = kind(random_state=0, **params)

    def fit(self, tasks):
        self.model.meta_fit(tasks)
        return self

    def adapt(self, X, y):
        return self.model.adapt(X, y)


def contenders(classification):
    rows = {"pooled": Pooled(classification)}
    if not classification:
        rows |= {"pooled + offset": Offset(False), "mixed model": MixedModel()}
    for name, sharing in (
        ("linear, one rate", None),
        ("linear, layer", "layer"),
        (DEFAULT, "parameter"),
    ):
        rows[name] = Reptile(classification, learn_rates=sharing)
    rows["linear, auto steps"] = Reptile(classification, adapt_steps="auto")
    hidden = {"hidden_layer_sizes": (32, 32)}
    for name, sharing in (
        ("mlp, one rate", None),
        ("mlp, layer", "layer"),
        ("mlp, parameter", "parameter"),
    ):
        rows[name] = Reptile(classification, learn_rates=sharing, **hidden)
    return rows


# -- the protocol ---------------------------------------------------------------------


def load_tasks(folder, name):
    arrays = np.load(folder / name / f"{name}.npz")
    X, y, task = arrays["X"].astype(float), arrays["y"], arrays["task"]
    if name == "orange_juice_stores":  # A task is a brand in a store.
        task = task.astype(int) * 100 + arrays["brand"]
    if name in REGRESSION:
        y = y.astype(float)
    return X, y, task


def split(X, y, task, seed):
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.unique(task))
    n_train = 2 * len(ids) // 3

    def rows_of(names):
        tasks = []
        for name in names:
            rows = rng.permutation(np.flatnonzero(task == name))[:MAX_ROWS]
            tasks.append((X[rows], y[rows]))
        return tasks

    return rows_of(ids[:n_train][:150]), rows_of(ids[n_train:][:60])


def task_losses(method, tasks, k, loss, seed):
    """Mean loss of each test task that has enough rows."""
    rng = np.random.default_rng(seed)
    losses = []
    for X, y in tasks:
        if len(y) < k + MIN_QUERY:
            continue
        draws = []
        for _ in range(N_DRAWS):
            order = rng.permutation(len(y))
            model = method.adapt(X[order[:k]], y[order[:k]])
            draws.append(loss(model, X[order[k:]], y[order[k:]]))
        losses.append(np.mean(draws))
    return np.array(losses)


def log_loss(model, X, y):
    p = model.predict_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    return -np.log(np.maximum(p, 1e-15)).mean()


def compare(folder, name, seed):
    classification = name in CLASSIFICATION
    train, test = split(*load_tasks(folder, name), seed)
    y = np.concatenate([y for _, y in train])
    if classification:
        known = np.unique(y)
        test = [(X[np.isin(y, known)], y[np.isin(y, known)]) for X, y in test]
        loss = log_loss
    else:
        scale = y.std()

        def loss(model, X, y):
            return np.sqrt(np.mean((model.predict(X) - y) ** 2)) / scale

    results = {}
    for label, method in contenders(classification).items():
        method.fit(train)
        results[label] = {
            k: task_losses(method, test, k, loss, seed + 1) for k in SHOTS
        }
    print(f"\n{name}: {len(train)} tasks trained on, {len(test)} tested")
    print(f"{'rows given':22}" + "".join(f"{k:>10}" for k in SHOTS))
    for label, by_shots in results.items():
        line = f"{label:22}"
        for k in SHOTS:
            if not len(by_shots[k]):
                line += f"{'-':>10}"
                continue
            difference = by_shots[k] - results[DEFAULT][k]
            half = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
            star = "*" if abs(difference.mean()) > half > 0 else " "
            line += f"{by_shots[k].mean():9.3f}{star}"
        print(line, flush=True)
    return {
        label: {k: round(float(v.mean()), 4) for k, v in row.items() if len(v)}
        for label, row in results.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets")
    parser.add_argument("--sets", nargs="+", default=[*REGRESSION, *CLASSIFICATION])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", help="file for the results, as JSON")
    args = parser.parse_args()
    results = {name: compare(args.data, name, args.seed) for name in args.sets}
    _results.save(args.save, results)


if __name__ == "__main__":
    main()
