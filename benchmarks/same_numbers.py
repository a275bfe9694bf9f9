"""Whether two versions of skmeta give the same numbers, to rounding.

    python benchmarks/same_numbers.py --against REVISION [--seeds 12]

This runs each estimator, on tasks drawn from each seed, once with this working tree
and once with the given revision of git, which is checked out into a temporary folder.
It compares fitted attributes, predictions and scores, and lists the largest relative
difference of each case. A rebuilding of the code must leave all of them below 1e-12.

``--save FILE`` writes the numbers of this version, ``--compare FILE`` compares with
such a file; that is quicker while one works.
"""

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn import config_context
from sklearn.compose import TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import skmeta
from skmeta.model_selection import (
    compare_baselines,
    few_shot_scores,
    make_few_shot_scorer,
)

TOLERANCE = 1e-12
N_TASKS, N_ROWS, N_COLUMNS, N_GIVEN = 14, 12, 3, 4
FEATURES = (
    "hidden_layer_sizes",
    "n_components",
    "activation",
    "layer_norm",
    "learning_rate",
    "support_size",
    "meta_batch_size",
)


# -- estimators -----------------------------------------------------------------------


def _empirical_bayes(kind, **options):
    """An empirical Bayes model, wherever its version keeps the options of features."""
    own = {name: options.pop(name) for name in FEATURES if name in options}
    if own and hasattr(skmeta, "LearnedFeatures"):
        own["max_iter"] = options["max_iter"]
        options["features"] = skmeta.LearnedFeatures(**own)
        own = {}
    return getattr(skmeta, f"EmpiricalBayes{kind}")(random_state=0, **own, **options)


def _reptile(kind, **options):
    defaults = {"max_iter": 40, "random_state": 0}
    return getattr(skmeta, f"Reptile{kind}")(**defaults | options)


def _prototypes(**options):
    return skmeta.PrototypicalClassifier(random_state=0, **options)


TREE = DecisionTreeRegressor(max_depth=2, random_state=0)
CLASSES_TREE = DecisionTreeClassifier(max_depth=2, random_state=0)
LEARNED = {"hidden_layer_sizes": (6,), "n_components": 3, "max_iter": 30}
NETWORK = {"hidden_layer_sizes": (6,)}

NUMBERS = {
    "EB": lambda: _empirical_bayes("Regressor"),
    "EB low rank": lambda: _empirical_bayes("Regressor", prior="low_rank"),
    "EB full": lambda: _empirical_bayes("Regressor", prior="full"),
    "EB raw units": lambda: _empirical_bayes("Regressor", standardize=False),
    "EB no intercept": lambda: _empirical_bayes("Regressor", fit_intercept=False),
    "EB base": lambda: _empirical_bayes("Regressor", base_estimator=TREE),
    "EB features": lambda: _empirical_bayes("Regressor", **LEARNED),
    "Reptile": lambda: _reptile("Regressor"),
    "Reptile Adam": lambda: _reptile("Regressor", solver="adam", batch_size=3),
    "Reptile network": lambda: _reptile("Regressor", **NETWORK, base_estimator=TREE),
    "Reptile Huber": lambda: _reptile("Regressor", loss="huber", n_jobs=2),
    "Reptile stopped": lambda: _reptile(
        "Regressor", early_stopping=True, adapt_steps="auto"
    ),
    "Reptile steps": lambda: _reptile("Regressor", adapt_steps="auto"),
}
LABELS = {
    "EB": lambda: _empirical_bayes("Classifier"),
    "EB base": lambda: _empirical_bayes("Classifier", base_estimator=CLASSES_TREE),
    "EB intercept": lambda: _empirical_bayes("Classifier", prior="intercept"),
    "Reptile": lambda: _reptile("Classifier"),
    "Reptile network": lambda: _reptile("Classifier", **NETWORK, layer_norm=True),
    "Reptile own classes": lambda: _reptile("Classifier", task_classes="own"),
    "Prototypes": _prototypes,
    "Prototypes network": lambda: _prototypes(**NETWORK, max_iter=30, n_way=2),
}
TWO_CLASSES = {"EB features": lambda: _empirical_bayes("Classifier", **LEARNED)}


# -- data -----------------------------------------------------------------------------


def draw_tasks(seed, n_classes=None):
    """Rows of all tasks with their targets, weights and ids; sizes differ."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(N_ROWS // 2, N_ROWS + 1, N_TASKS)
    task = np.repeat(np.arange(N_TASKS), sizes)
    X = rng.normal(size=(len(task), N_COLUMNS)) * [1.0, 5.0, 0.1] + [0.0, 20.0, 0.0]
    slopes = rng.normal(size=(N_TASKS, N_COLUMNS)) + [1.0, -1.0, 0.5]
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    y = (Z * slopes[task]).sum(axis=1) + rng.normal(size=N_TASKS)[task]
    y += 0.5 * rng.normal(size=len(task)) + np.sin(3 * Z[:, 0])
    if n_classes is not None:
        edges = np.quantile(y, np.arange(1, n_classes) / n_classes)
        y = np.array(["a", "b", "c", "d"])[np.searchsorted(edges, y)]
    else:
        y = 30.0 + 7.0 * y
    return X, y, rng.integers(1, 4, len(task)).astype(float), task


# -- what is compared -----------------------------------------------------------------


def _attributes(model, name, found):
    """Every public fitted attribute of a model that is made of numbers."""
    for attribute in dir(model):
        if attribute.startswith("_") or not attribute.endswith("_"):
            continue
        try:
            value = getattr(model, attribute)
        except AttributeError:
            continue
        if attribute == "base_estimator_" or callable(value):
            continue
        found[f"{name}.{attribute}"] = value


METHODS = ("predict", "predict_proba", "decision_function", "predict_interval")


def _predictions(model, X, name, found):
    for method in METHODS:
        if hasattr(model, method):
            found[f"{name}.{method}"] = getattr(model, method)(X)
    if hasattr(model, "predict_interval"):
        found[f"{name}.std"] = model.predict(X, return_std=True)[1]
    if hasattr(model, "suggest_queries"):
        found[f"{name}.suggest_queries"] = model.suggest_queries(X, min(3, len(X)))


def _one_model(make, X, y, weight, task, found):
    """All verbs of a meta-learner."""
    model, of_new = make(), task >= N_TASKS - 2
    known = ~of_new
    weights = {}
    if not isinstance(model, skmeta.PrototypicalClassifier):
        weights = {"sample_weight": weight[known]}
    model.fit(X[known], y[known], task=task[known], **weights)
    _attributes(model, "prior", found)
    own = isinstance(model, skmeta.PrototypicalClassifier)
    own = own or getattr(model, "task_classes", "shared") == "own"
    if not own:
        _predictions(model, X[of_new], "prior", found)
    new = np.flatnonzero(task == N_TASKS - 1)
    given, rest = new[:N_GIVEN], new[N_GIVEN:]
    adapted = model.adapt(X[given], y[given])
    _attributes(adapted, "adapted", found)
    _predictions(adapted, X[rest], "adapted", found)
    if not own:
        found["adapted.score"] = adapted.score(X[rest], y[rest])
    present = set(y[given])
    rest = np.array([row for row in rest if y[row] in present or not own])
    if len(rest):
        adapted.partial_adapt(X[rest[:2]], y[rest[:2]])
        _attributes(adapted, "again", found)
    first = np.concatenate([np.flatnonzero(task == t)[:N_GIVEN] for t in (12, 13)])
    later = np.setdiff1d(np.flatnonzero(of_new), first)
    found["adapt_predict"] = model.adapt_predict(
        X[first], y[first], X[later], task=task[first], task_new=task[later]
    )
    few = {"n_support": 2, "random_state": 0, "n_repeats": 2}
    found["few_shot_scores"] = few_shot_scores(model, X, y, task=task, **few)
    if hasattr(model, "warm_start"):
        model.set_params(warm_start=True).fit(X, y, task=task)
        _attributes(model, "warm", found)


def _one_task(make, X, y, found):
    model = make().fit(X, y)
    _attributes(model, "one task", found)
    _predictions(model, X[:5], "one task", found)
    _attributes(make().fit(sparse.csr_matrix(X), y), "sparse", found)


@config_context(enable_metadata_routing=True)
def _compositions(make, X, y, task, found):
    first = np.concatenate([np.flatnonzero(task == t)[:N_GIVEN] for t in range(3)])
    tasks = {int(t): (X[task == t], y[task == t]) for t in np.unique(task)}
    pipe = make_pipeline(StandardScaler(), make())
    target = TransformedTargetRegressor(make(), transformer=PowerTransformer())
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), make()),
        {},
        cv=GroupKFold(3).set_split_request(groups="task"),
        scoring=make_few_shot_scorer("r2", n_support=3),
    )
    for name, model in {"pipe": pipe, "target": target, "grid": grid}.items():
        skmeta.meta_fit(model, tasks)
        adapted = skmeta.adapt(FrozenEstimator(model), X[:3], y[:3])
        found[f"{name}.adapt"] = adapted.predict(X[3:9])
        found[f"{name}.adapt_predict"] = skmeta.adapt_predict(
            model, X[first], y[first], X, task=task[first], task_new=task
        )
        if name != "grid":
            found[f"{name}.few_shot_scores"] = few_shot_scores(
                model, X, y, task=task, n_support=2, random_state=0
            )
        skmeta.partial_adapt(model, X[:2], y[:2])
        found[f"{name}.partial_adapt"] = model.predict(X[3:9])
    found["grid.score"] = grid.cv_results_["mean_test_score"]


def _comparison(make, X, y, task, found):
    result = compare_baselines(
        {"model": make()}, X, y, task=task, n_support=(1, 3), cv=3, random_state=0
    )
    frame = result.to_frame()
    found["compare_baselines"] = frame.select_dtypes("number").to_numpy()
    found["verdict"] = str(result)


def numbers(n_seeds):
    """All numbers, {(case, seed): {name: value}}."""
    result = {}
    sets = [(NUMBERS, None), (LABELS, 2), (LABELS, 3), (TWO_CLASSES, 2)]
    for seed in range(n_seeds):
        for models, n_classes in sets:
            X, y, weight, task = draw_tasks(seed, n_classes)
            kind = f"{n_classes} classes" if n_classes else "numbers"
            for name, make in models.items():
                found = result[f"{name}, {kind}", seed] = {}
                _one_model(make, X, y, weight, task, found)
                if not any(s in name for s in ("own", "stopped")) and seed < 3:
                    some = task < 3
                    _one_task(make, X[some], y[some], found)
        X, y, _, task = draw_tasks(seed)
        for name in ("EB", "Reptile"):
            found = result[f"{name} in compositions", seed] = {}
            _compositions(NUMBERS[name], X, y, task, found)
        if seed < 2:
            found = result["compare_baselines", seed] = {}
            _comparison(NUMBERS["EB"], X, y, task, found)
    return result


# -- comparing ------------------------------------------------------------------------


def _difference(a, b):
    """Largest difference relative to the size of the array; inf where shapes differ."""
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        if len(a) != len(b):
            return np.inf
        return max((_difference(i, j) for i, j in zip(a, b, strict=True)), default=0.0)
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return np.inf
    if a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(a, b) else np.inf
    a, b = a.astype(float), b.astype(float)
    if np.array_equal(a, b, equal_nan=True):
        return 0.0
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return np.inf
    size = np.abs(a[np.isfinite(a)]).max(initial=0.0)
    return float(np.nanmax(np.abs(a - b)) / max(size, np.finfo(float).tiny))


def differences(before, after, only_common=False):
    """The largest difference of each case, with the name of the number.

    With ``only_common`` a number that one of the two does not have is left out.
    """
    worst = {}
    for case, found in before.items():
        others = after.get(case, {})
        common = found.keys() & others.keys()
        for name in common if only_common else found.keys() | others.keys():
            if name not in found or name not in others:
                off = np.inf
            else:
                off = _difference(found[name], others[name])
            if off >= worst.get(case[0], (-1.0, "", 0))[0]:
                worst[case[0]] = off, name, case[1]
    return worst


def numbers_of_revision(revision, n_seeds):
    """The same numbers, made by another revision in a process of its own."""
    here = Path(__file__).resolve()
    with tempfile.TemporaryDirectory() as folder:
        tree, saved = Path(folder, "tree"), Path(folder, "numbers")
        git = ["git", "-C", str(here.parent), "worktree"]
        subprocess.run([*git, "add", "--detach", str(tree), revision], check=True)
        try:
            command = [sys.executable, str(here), "--seeds", str(n_seeds)]
            subprocess.run(
                [*command, "--save", str(saved)],
                check=True,
                env=os.environ | {"PYTHONPATH": str(tree)},
            )
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
        return pickle.loads(saved.read_bytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", metavar="REVISION")
    parser.add_argument("--save", type=Path, metavar="FILE")
    parser.add_argument("--compare", type=Path, metavar="FILE")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--common", action="store_true", help="leave out new numbers")
    options = parser.parse_args()
    print("skmeta in", Path(skmeta.__file__).parent)
    warnings.simplefilter("ignore")
    if options.save:
        options.save.write_bytes(pickle.dumps(numbers(options.seeds)))
        return
    if options.compare:
        before = pickle.loads(options.compare.read_bytes())
        before = {case: v for case, v in before.items() if case[1] < options.seeds}
    else:
        before = numbers_of_revision(options.against or "HEAD", options.seeds)
    worst = differences(before, numbers(options.seeds), options.common)
    for case, (off, name, seed) in worst.items():
        print(f"{case:40} {off:8.1e}  {name} (seed {seed})")
    n_numbers = sum(map(len, before.values()))
    off = max(off for off, *_ in worst.values())
    print(f"{n_numbers} numbers and arrays; the largest difference is {off:.1e}")
    sys.exit(off > TOLERANCE)


if __name__ == "__main__":
    main()
