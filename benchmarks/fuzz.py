"""Count what must never happen when estimators meet odd random tables.

    python benchmarks/fuzz.py [--fits 500] [--seed 0] [--only CASE] [--save FILE]

Each case draws a small ragged table in odd sizes (1 to 40 tasks of 1 to 60 rows,
constant, collinear, binary and heavy-tailed columns, weights, targets that do not
vary), an estimator with its options, and a twin of the table that says the same: in
other units, with the rows in another order, under other ids, or in another layout. Both
are meta-trained, adapted and asked for predictions by every verb. What is counted:

evidence     random-intercept fits whose log evidence is more than 0.1 below the exact
             maximum, found by SciPy in one dimension (one table for each case; those
             of fewer than three rows per coefficient, where slopes are drawn to zero
             and a warning says so, are counted if it does not)
units, order, names, layout
             twins whose predictions differ by more than `TOLERANCE`, in spreads of y or
             as probabilities, although neither fit warned; those that did are counted
             beside them
portions     adapting in portions that differs from adapting to all rows (learned prior)
many         adapt_predict that differs from adapt and predict
far          predictions that are not finite, or more than 1,000 spreads from the mean
numpy        warnings of NumPy or SciPy
state        calls held wrong that were accepted, or that failed and changed the model
errors       fits or verbs that raised on a table that is right

A case is drawn from its own seed, so that ``--only CASE`` shows it again in detail.
"""

import argparse
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import _results
import joblib
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import minimize_scalar
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge

import skmeta
from skmeta.model_selection import few_shot_scores

# Predictions of twins may differ by this much, and count as equal within the second.
TOLERANCE, EXACT = 1e-4, 1e-6
# The log evidence may be this much below its maximum.
BELOW = 0.1
# Predictions more spreads of y than this from the mean are counted as far.
FAR = 1e3


# -- tables ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """Rows of many tasks to learn from, and one new task."""

    X: np.ndarray
    y: np.ndarray
    task: np.ndarray
    weight: np.ndarray | None
    X_new: np.ndarray
    y_new: np.ndarray

    @property
    def spread(self):
        return np.std(self.y) or 1.0


def draw_sizes(rng):
    n_tasks = int(np.exp(rng.uniform(0, np.log(40))))
    kind = rng.choice(["even", "ragged", "ones", "one long"])
    if kind == "even":
        return np.full(n_tasks, rng.integers(1, 13))
    sizes = rng.integers(1, 13, size=n_tasks)
    if kind == "ones":
        sizes[rng.random(n_tasks) < 0.7] = 1
    if kind == "one long":
        sizes[0] = 60
    return sizes


def draw_columns(rng, n_rows, codes):
    """Columns of the kinds that real tables hold."""
    columns = []
    for _ in range(rng.integers(1, 6)):
        kind = rng.choice(
            ["normal", "binary", "count", "heavy", "constant", "of task", "copy"],
            p=[0.4, 0.15, 0.15, 0.1, 0.05, 0.1, 0.05],
        )
        column = rng.standard_normal(n_rows)
        if kind == "binary":
            column = (column > rng.normal()).astype(float)
        elif kind == "count":
            column = rng.poisson(3.0, n_rows).astype(float)
        elif kind == "heavy":
            column = rng.standard_t(2, n_rows)
        elif kind == "constant":
            column = np.full(n_rows, 7.0)
        elif kind == "of task":
            column = rng.standard_normal(codes.max() + 1)[codes]
        elif kind == "copy" and columns:
            column = 2.0 * columns[-1]
        columns.append(column)
    return np.column_stack(columns)


def draw_table(rng, classification):
    sizes = draw_sizes(rng)
    n_new = 12
    codes = np.repeat(np.arange(len(sizes) + 1), [*sizes, n_new])
    X = draw_columns(rng, len(codes), codes)
    scaled = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9)
    spread = 10.0 ** rng.uniform(-2, 1.5)
    slopes = rng.normal(size=X.shape[1])
    varying = rng.normal(size=(len(sizes) + 1, X.shape[1])) * (rng.random() < 0.5)
    level = spread * rng.standard_normal(len(sizes) + 1)
    y = (scaled * (slopes + varying[codes])).sum(axis=1) + level[codes]
    if classification:
        n_classes = int(rng.choice([2, 2, 3, 4]))
        noisy = y / (1 + spread) + rng.logistic(size=len(y))
        y = np.digitize(noisy, np.quantile(noisy, np.arange(1, n_classes) / n_classes))
        # There are two classes at least.
        y[:2] = [0, 1] if sizes.sum() > 1 else [0, 0]
    else:
        y = y + rng.standard_normal(len(y))
        kind = rng.choice(["as it is", "whole", "constant"], p=[0.8, 0.15, 0.05])
        y = {"as it is": y, "whole": np.round(y), "constant": np.full(len(y), 3.0)}[
            kind
        ]
    weight = None
    if rng.random() < 0.3:
        weight = rng.uniform(0.3, 1.7, size=sizes.sum())
        weight[rng.random(len(weight)) < 0.2] = 0.0
        weight[0] = 1.0
    n = sizes.sum()
    return Table(X[:n], y[:n], codes[:n], weight, X[n:], y[n:])


# -- twins: tables that say the same --------------------------------------------------


def in_other_units(table, rng, *, shift, number):
    """Returns the table and the function that puts predictions back.

    A column that does not vary stays as it is: its unit cannot be told.
    """
    p, number = table.X.shape[1], number and np.std(table.y) > 0
    varies = np.ptp(table.X, axis=0) > 0
    scale = np.where(varies, 10.0 ** rng.uniform(-6, 6, size=p), 1.0)
    offset = np.where(varies, shift * scale * rng.normal(0, 100, size=p), 0.0)
    y_scale = 10.0 ** rng.uniform(-8, 8) if number else 1
    y_shift = shift * y_scale * rng.normal(0, 100) * table.spread if number else 0
    twin = replace(
        table,
        X=table.X * scale + offset,
        X_new=table.X_new * scale + offset,
        y=table.y * y_scale + y_shift,
        y_new=table.y_new * y_scale + y_shift,
    )
    return twin, lambda values, width: (values - (0 if width else y_shift)) / y_scale


def in_other_order(table, rng):
    rows = rng.permutation(len(table.y))
    weight = None if table.weight is None else table.weight[rows]
    return replace(
        table, X=table.X[rows], y=table.y[rows], task=table.task[rows], weight=weight
    )


def under_other_names(table, rng):
    names = rng.permutation(len(np.unique(table.task)))
    codes = np.unique(table.task, return_inverse=True)[1]
    texts = np.array([f"shop {name}" for name in names])
    return replace(table, task=(texts if rng.random() < 0.5 else names * 10)[codes])


def in_another_layout(table, rng, *, may_be_sparse):
    kinds = ["fortran", "strided", "frame"] + 3 * ["csr"] * may_be_sparse
    kind = rng.choice(kinds)
    X = table.X
    if kind == "fortran":
        X = np.asfortranarray(X)
    elif kind == "strided":
        X = np.repeat(X, 2, axis=0)[::2]
    elif kind == "frame":
        columns = [f"x{i}" for i in range(X.shape[1])]
        new = pd.DataFrame(table.X_new, columns=columns)
        return replace(table, X=pd.DataFrame(X, columns=columns), X_new=new)
    else:
        X = sparse.csr_array(X)
        return replace(table, X=X, X_new=sparse.csr_array(table.X_new))
    return replace(table, X=X)


def draw_twin(table, rng, contestant):
    """The kind of twin, the twin, and how to put its predictions back."""

    def same(values, width):
        return values

    kinds = ["order", "names", "layout"] + ["units"] * contestant.unit_free
    kind = str(rng.choice(kinds))
    if kind == "units":
        shift, number = contestant.shift_free, not contestant.classification
        return kind, *in_other_units(table, rng, shift=shift, number=number)
    if kind == "order":
        return kind, in_other_order(table, rng), same
    if kind == "names":
        return kind, under_other_names(table, rng), same
    sparse_too = contestant.may_be_sparse
    return kind, in_another_layout(table, rng, may_be_sparse=sparse_too), same


# -- estimators -----------------------------------------------------------------------


@dataclass(frozen=True)
class Contestant:
    """An estimator, and which twins it must not tell from the table."""

    model: object
    classification: bool
    unit_free: bool = True
    shift_free: bool = True
    may_be_sparse: bool = True

    @property
    def name(self):
        return type(self.model).__name__


def draw_contestant(rng):
    """An estimator with options, drawn at random."""
    classification = bool(rng.random() < 0.5)
    family = rng.choice(
        ["EmpiricalBayes", "Reptile", "Prototypical"], p=[0.7, 0.2, 0.1]
    )
    options = {"random_state": 0}
    if family == "Prototypical":
        return Contestant(skmeta.PrototypicalClassifier(**options), True)
    base = None
    if rng.random() < 0.2:
        base = LogisticRegression() if classification else Ridge()
    options["base_estimator"] = base
    # The penalty of ridge depends on the units of X, so a base model does too.
    free = {"unit_free": base is None}
    if family == "EmpiricalBayes":
        options["prior"] = str(
            rng.choice(
                ["auto", "intercept", "isotropic", "diagonal", "low_rank", "full"]
            )
        )
        options["standardize"] = bool(rng.random() < 0.8)
        if options["prior"] != "intercept":
            options["fit_intercept"] = bool(rng.random() < 0.85)
            free["shift_free"] = options["fit_intercept"]
        free["unit_free"] &= options["standardize"]
    else:
        options["max_iter"] = 30
        options["hidden_layer_sizes"] = [(), (6,)][rng.integers(2)]
    kind = "Classifier" if classification else "Regressor"
    model = getattr(skmeta, family + kind)(**options)
    return Contestant(model, classification, **free)


# -- one case -------------------------------------------------------------------------


@dataclass
class Asked:
    """All predictions of a meta-trained model for a table."""

    model: object
    values: np.ndarray
    widths: np.ndarray
    # Pairs of predictions that must agree, by the name of what is counted.
    pairs: dict = field(default_factory=dict)


def ask(model, table):
    """Meta-train, and predict by every verb."""
    model = clone(model)
    weight = {} if table.weight is None else {"sample_weight": table.weight}
    if "Prototypical" in type(model).__name__:
        weight = {}  # This estimator meta-trains on rows of equal weight.
    model.fit(table.X, table.y, task=table.task, **weight)
    given, asked = slice(0, 6), slice(6, None)
    X, y, X_new = rows_of(table.X_new, given), table.y_new[given], table.X_new
    X_asked = rows_of(X_new, asked)
    method = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    own_classes = "Prototypical" in type(model).__name__
    values, widths = [] if own_classes else [getattr(model, method)(X_asked)], []
    known = np.isin(y, getattr(model, "classes_", y))
    if known.sum() < len(y):  # Some labels are new; no task had them.
        X, y = rows_of(X, np.flatnonzero(known)), y[known]
    pairs = {}
    if len(y):
        adapted = model.adapt(X, y)
        in_portions = model.adapt(rows_of(X, slice(0, 1)), y[:1])
        if len(y) > 1:
            in_portions.partial_adapt(rows_of(X, slice(1, None)), y[1:])
        values.append(getattr(adapted, method)(X_asked))
        if not own_classes:
            ids = {"task": np.zeros(len(y)), "task_new": np.zeros(X_asked.shape[0])}
            many = model.adapt_predict(X, y, X_asked, method=method, **ids)
            pairs["many"] = values[-1], many
        if "EmpiricalBayes" in type(model).__name__:
            pairs["portions"] = values[-1], getattr(in_portions, method)(X_asked)
            model.suggest_queries(X_asked, 2)
        if hasattr(model, "predict_interval"):
            for one in (model, adapted):
                widths.append(one.predict(X_asked, return_std=True)[1])
                widths.append(np.diff(one.predict_interval(X_asked))[:, 0])
    flat = [np.empty(0), *map(np.ravel, values)]
    widths = np.concatenate([*widths, np.empty(0)])
    return Asked(model, np.concatenate(flat), widths, pairs)


def rows_of(X, rows):
    if hasattr(X, "iloc"):
        return X.iloc[rows]
    return X[rows]


def run(case, seed=0, verbose=False):
    """The counts of one case."""
    rng = np.random.default_rng([seed, case])
    counts = Counter(cases=1)
    contestant = draw_contestant(rng)
    table = draw_table(rng, contestant.classification)
    kind, twin, back = draw_twin(table, rng, contestant)
    counts[f"twins: {kind}"] += 1
    told, asked = [], []
    for one in (table, twin):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                asked.append(ask(contestant.model, one))
            except Exception as error:
                told.append(error)
                counts["errors"] += 1
                if verbose:
                    traceback.print_exc()
        of_numpy = [w for w in caught if issubclass(w.category, RuntimeWarning)]
        counts["numpy"] += bool(of_numpy)
        told += [w.message for w in caught if w not in of_numpy]
        if verbose:
            for w in caught:
                print(f"  {w.category.__name__}: {w.message} ({w.filename}:{w.lineno})")
    if verbose:
        show(contestant, table, kind, asked)
    if len(asked) == 2:
        counts += compare(asked, table, kind, back, bool(told), contestant, verbose)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            counts += hold_wrong(asked[0].model, table, rng, verbose)
    counts += check_evidence(rng, verbose)
    return counts


def compare(asked, table, kind, back, told, contestant, verbose):
    counts = Counter()
    first, second = asked
    spread = 1.0 if contestant.classification else table.spread
    values = back(second.values, False)
    apart = np.abs(first.values - values).max(initial=0.0) / spread
    centre = 0.0 if contestant.classification else table.y.mean()
    for one in (first.values, values):
        far = ~np.isfinite(one) | (np.abs(one - centre) > FAR * spread)
        counts["far"] += bool(far.any())
    for name, (one, other) in first.pairs.items():
        counts[name] += bool(np.abs(one - other).max() > TOLERANCE * spread)
    of_widths = 0.0
    if len(first.widths):
        of_widths = np.abs(first.widths - back(second.widths, True)).max() / spread
    moved = "moved, and said so" if told else kind
    counts[moved] += bool(apart > TOLERANCE)
    counts[f"{moved}: widths"] += bool(of_widths > 10 * TOLERANCE)
    counts["apart by more than 1e-6"] += bool(apart > EXACT)
    if verbose:
        print(f"  apart by {apart:.1e}, widths by {of_widths:.1e}, warned: {told}")
    return counts


def show(contestant, table, kind, asked):
    print(f"  {contestant.model}, twin: {kind}")
    sizes = np.unique(table.task, return_counts=True)[1]
    print(f"  {len(sizes)} tasks of {sizes.min()} to {sizes.max()} rows")
    for one in asked:
        for name in ("prior_structure_", "n_iter_", "log_marginal_likelihood_"):
            if hasattr(one.model, name):
                print(f"  {name} {getattr(one.model, name)}", end="")
        print()


# -- calls held wrong -----------------------------------------------------------------


def hold_wrong(model, table, rng, verbose):
    """Calls that must fail and leave the model as it was."""
    counts = Counter()
    X, y = np.array(table.X_new, dtype=float)[:3], table.y_new[:3]
    known = np.isin(y, getattr(model, "classes_", y))
    if not known.all():
        return counts
    holes = X.copy()
    holes[1, 0] = rng.choice([np.nan, np.inf])
    nothing = y.astype(object)
    nothing[1] = None
    ids = np.zeros(3)
    calls = {
        "a missing value": lambda: model.partial_adapt(holes, y),
        "a missing target": lambda: model.partial_adapt(X, nothing),
        "another column": lambda: model.partial_adapt(np.hstack([X, X]), y),
        "fewer targets": lambda: model.partial_adapt(X, y[:2]),
        "weights of zero": lambda: model.partial_adapt(X, y, np.zeros(3)),
        "negative weights": lambda: model.partial_adapt(X, y, np.array([1.0, -1, 1])),
        "missing ids": lambda: model.fit(X, y, task=[0, None, 1]),
        "text": lambda: model.fit(X.astype(str).astype(object) + "a", y, task=ids),
        "ids that never meet": lambda: model.adapt_predict(
            X, y, X, task=ids, task_new=["a", "b", "c"]
        ),
        "fewer ids": lambda: few_shot_scores(model, X, y, ids[:2]),
    }
    for name, call in calls.items():
        before = joblib.hash(model.__getstate__())
        try:
            call()
        except Exception:
            wrong = joblib.hash(model.__getstate__()) != before
        else:
            wrong = True
        counts["calls held wrong"] += 1
        counts["state"] += wrong
        if wrong and verbose:
            print(f"  held wrong: {name}")
    return counts


# -- evidence -------------------------------------------------------------------------


def check_evidence(rng, verbose):
    """Counts a random-intercept fit that is below the exact maximum."""
    table = draw_table(rng, classification=False)
    units = in_other_units(table, rng, shift=True, number=True)[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = skmeta.EmpiricalBayesRegressor("intercept", random_state=0)
        try:
            model.fit(units.X, units.y, task=units.task)
        except Exception as error:
            if verbose:
                print(f"  evidence: {error}")
            return Counter({"errors": 1})
    counts = Counter()
    counts["numpy"] += any(issubclass(w.category, RuntimeWarning) for w in caught)
    n_tasks = len(np.unique(table.task))
    if n_tasks == 1 or np.std(table.y) == 0:
        return counts
    best = exact_evidence(table.X, table.y, table.task)
    if best is None:  # the rows are fitted without error: there is no maximum
        return counts
    scale = np.std(units.y) / np.std(table.y)
    found = model.log_marginal_likelihood_ + len(table.y) * np.log(scale)
    counts["evidences"] += 1
    told = any(not issubclass(w.category, RuntimeWarning) for w in caught)
    counts["evidence"] += bool(found < best - BELOW and not told)
    counts["evidence, and said so"] += bool(found < best - BELOW and told)
    if verbose:
        print(f"  evidence {found:.4f}, exact maximum {best:.4f}")
    return counts


def exact_evidence(X, y, task):
    """The maximum over means, noise and one ratio of variances: a search in one number.

    None where the columns fit the rows without error, or nearly so.
    """
    codes = np.unique(task, return_inverse=True)[1]
    deviations = X.std(axis=0)
    X = (X - X.mean(axis=0))[:, deviations > 0] / deviations[deviations > 0]
    X = np.column_stack([X, np.ones(len(y))])
    n = len(y)
    if np.linalg.matrix_rank(X) + 1 >= n:
        return None
    groups = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]

    def minus(log_ratio):
        ratio = np.exp(log_ratio)
        rows, log_det = [], 0.0
        for group in groups:
            # (I + ratio 1 1')^-1/2 = I - c 1 1' / n
            size = len(group)
            root = 1 / np.sqrt(1 + ratio * size)
            part = np.column_stack([X[group], y[group]])
            rows.append(part - (1 - root) * part.mean(axis=0))
            log_det -= 2 * np.log(root)
        rows = np.concatenate(rows)
        coef = np.linalg.lstsq(rows[:, :-1], rows[:, -1], rcond=1e-11)[0]
        noise = np.mean((rows[:, -1] - rows[:, :-1] @ coef) ** 2)
        return 0.5 * (n * np.log(2 * np.pi * max(noise, 1e-300)) + n + log_det)

    grid = np.linspace(-25, 25, 201)
    values = np.array([minus(point) for point in grid])
    i = int(values.argmin())
    if i == len(grid) - 1:  # The levels fit without error, so there is no maximum.
        return None
    found = minimize_scalar(
        minus, bounds=(grid[max(i - 1, 0)], grid[i + 1]), method="bounded"
    )
    return -min(found.fun, values[i])


# -- command line ---------------------------------------------------------------------

MUST_BE_ZERO = (
    "evidence",
    "units",
    "order",
    "names",
    "layout",
    "portions",
    "many",
    "far",
    "numpy",
    "state",
    "errors",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--fits", type=int, default=500, help="number of cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="show one case in detail")
    parser.add_argument("--save", type=Path, help="file for the counts, as JSON")
    args = parser.parse_args()
    if args.only is not None:
        print(dict(run(args.only, args.seed, verbose=True)))
        return
    start, total, cases = time.perf_counter(), Counter(), {}
    for case in range(args.fits):
        counts = run(case, args.seed)
        total += counts
        for name in counts:
            if name in MUST_BE_ZERO or name.endswith("widths"):
                cases.setdefault(name, []).append(case)
    print(f"{args.fits} cases, seed {args.seed}, {time.perf_counter() - start:.0f} s")
    for name in sorted(total):
        where = f"   cases {cases[name][:12]}" if name in cases else ""
        print(f"{name:32} {total[name]:6d}{where}")
    _results.save(args.save, dict(sorted(total.items())))
    sys.exit(any(total[name] for name in MUST_BE_ZERO))


if __name__ == "__main__":
    main()
