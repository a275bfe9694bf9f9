"""Is the learned prior the right one, and what is it worth? It is held to the truth.

    python benchmarks/learned_prior.py [--part PART ...] [--data FOLDER]

oracle: linear tasks are drawn from a known prior of one of three structures. The table
shows the excess risk E |w_hat - w|^2 of new tasks, as a ratio to that of the Bayes
estimator that knows the prior and the noise, and how often "auto" finds the structure.

logistic: the same for labels and a prior of low rank. The rivals are the posterior mode
under the true prior, and logistic regressions of all tasks and of each task.

mixedlm: fitted variances are compared with those of statsmodels' MixedLM, on data like
sleepstudy (Belenky et al., 2003), and for labels with a literal numerical maximum of
the likelihood with one random intercept, integrated by Gauss-Hermite quadrature.

queries: on real data sets (see `_task_sets.py`), a random half of the units of each
held-out task is the pool, and the other half is tested on. The table shows the error
after 4 questions that `suggest_queries` chooses, and after 4 and 6 random ones; a pool
of 6 rows has no others. This part needs --data.

speed: CPU seconds; set OMP_NUM_THREADS=1.
"""

import argparse
import warnings
from functools import partial
from pathlib import Path
from time import process_time

import _results
import numpy as np
from _task_sets import draw_split
from scipy.optimize import minimize
from scipy.special import expit, logsumexp
from sklearn.linear_model import LogisticRegression

from skmeta import EmpiricalBayesClassifier, EmpiricalBayesRegressor
from skmeta._core.prior import gaussian
from skmeta._core.prior.fit import first_fit
from skmeta._core.prior.structures import Full

NOISE = 0.5
SHOTS = (5, 15, 40)
N_NEW_TASKS = 300
STRUCTURES = ("isotropic", "diagonal", "low_rank")
QUERY_SETS = (
    "lenk_computers",
    "chocolate_conjoint",
    "tea_conjoint",
    "carrots_liking",
    "journey_conjoint",
    "electricity_choice",
    "camera_choice",
    "train_tickets",
    "bank_cards",
)
N_ASKED, N_RANDOM = 4, 6
N_RANDOM_DRAWS = 10
MIN_TEST = 3


# -- a known prior --------------------------------------------------------------------


def draw_covariance(structure, d, rng):
    if structure == "isotropic":
        return 0.25 * np.eye(d)
    if structure == "diagonal":
        return np.diag(10 ** rng.uniform(-3, 0.5, d))
    A = rng.standard_normal((d, 3))
    return A @ A.T + 1e-3 * np.eye(d)


class KnownPrior:
    """Tasks with coefficients N(mu, Sigma), x ~ N(0, I) and no intercept."""

    def __init__(self, structure, d, rng):
        self.mean = rng.standard_normal(d)
        self.covariance = draw_covariance(structure, d, rng)
        self.factor = np.linalg.cholesky(self.covariance)
        self.rng = rng

    def draw(self, n_rows):
        """Coefficients, rows and expected targets of a task."""
        d = len(self.mean)
        w = self.mean + self.factor @ self.rng.standard_normal(d)
        X = self.rng.standard_normal((n_rows, d))
        return w, X, X @ w

    def regression(self, n_rows):
        w, X, z = self.draw(n_rows)
        return w, X, z + NOISE * self.rng.standard_normal(n_rows)

    def classification(self, n_rows):
        w, X, z = self.draw(n_rows)
        return w, X, (self.rng.uniform(size=n_rows) < expit(z)).astype(int)

    def posterior_mean(self, X, y):
        across = self.covariance @ X.T
        rows = X @ across + NOISE**2 * np.eye(len(y))
        return self.mean + across @ np.linalg.solve(rows, y - X @ self.mean)

    def posterior_mode(self, X, y):
        """The coefficients of a logistic task of the largest posterior density."""
        sign = np.where(y == 1, 1, -1)

        def negative(u):
            z = sign * (X @ (self.mean + self.factor @ u))
            slope = (X * (sign * expit(-z))[:, None]).sum(axis=0)
            value = np.logaddexp(0, -z).sum() + u @ u / 2
            return value, u - self.factor.T @ slope

        u = minimize(negative, np.zeros(len(self.mean)), jac=True, method="BFGS").x
        return self.mean + self.factor @ u


# -- oracle ---------------------------------------------------------------------------


def excess_ratios(structure, d, seed):
    """Ratio of excess risks at each of SHOTS, and the structure found."""
    rng = np.random.default_rng(seed)
    known = KnownPrior(structure, d, rng)
    tasks = [known.regression(rng.integers(15, 31))[1:] for _ in range(200)]
    model = EmpiricalBayesRegressor(fit_intercept=False, random_state=0)
    model.meta_fit(tasks)
    risks = np.zeros((2, len(SHOTS)))
    for _ in range(N_NEW_TASKS):
        w, X, y = known.regression(SHOTS[-1])
        for i, n in enumerate(SHOTS):
            learned = model.adapt(X[:n], y[:n]).coef_
            oracle = known.posterior_mean(X[:n], y[:n])
            risks[:, i] += ((learned - w) ** 2).sum(), ((oracle - w) ** 2).sum()
    return risks[0] / risks[1], model.prior_structure_


def oracle(args):
    print("excess risk, ratio to the Bayes estimator that knows the prior: mean (max)")
    heads = "".join(f"{f'n={n}':>16}" for n in SHOTS)
    print(f"{'':22}{'draws':>6}{heads}{'right':>8}  found")
    results = {}
    for d, default in ((10, 50), (30, 10)):
        for structure in STRUCTURES:
            draws = range(args.draws or default)
            found = [excess_ratios(structure, d, seed) for seed in draws]
            results[f"{structure}, d={d}"] = report_oracle(structure, d, found)
    return results


def report_oracle(structure, d, found):
    ratios = np.array([ratio for ratio, _ in found])
    names, counts = np.unique([name for _, name in found], return_counts=True)
    names = dict(zip(names.tolist(), counts.tolist(), strict=True))
    means, largest = ratios.mean(axis=0), ratios.max(axis=0)
    cells = "".join(
        f"{f'{mean:.3f} ({top:.3f})':>16}"
        for mean, top in zip(means, largest, strict=True)
    )
    right = names.get(structure, 0) / len(found)
    label = f"{structure}, d={d}"
    print(f"{label:22}{len(found):6}{cells}{right:8.0%}  {names}", flush=True)
    return {
        "draws": len(found),
        "mean": rounded(means),
        "max": rounded(largest),
        "found": names,
    }


# -- logistic -------------------------------------------------------------------------


def logistic_scores(seed):
    """Accuracy and log-loss of each method, averaged over new tasks."""
    rng = np.random.default_rng(seed)
    known = KnownPrior("low_rank", 10, rng)
    tasks = [known.classification(rng.integers(20, 41))[1:] for _ in range(100)]
    pooled = LogisticRegression(fit_intercept=False)
    pooled.fit(*(np.concatenate(part) for part in zip(*tasks, strict=True)))
    learned = {
        f"learned, {prior}": EmpiricalBayesClassifier(
            prior, fit_intercept=False, random_state=0
        ).meta_fit(tasks)
        for prior in ("low_rank", "auto")
    }
    scores = {}
    for _ in range(200):
        _, X, y = known.classification(220)
        given, rest = (X[:20], y[:20]), (X[20:], y[20:])
        for name, p in probabilities(known, pooled, learned, given, rest[0]).items():
            scores.setdefault(name, []).append(accuracy_and_loss(p, rest[1]))
    found = learned["learned, auto"]
    print(f"draw {seed}: auto chose {found.prior_structure_}", flush=True)
    return {name: np.mean(values, axis=0) for name, values in scores.items()}


def probabilities(known, pooled, learned, given, X):
    """The probability of class 1 by each method."""
    single = LogisticRegression(fit_intercept=False).fit(*given)
    models = {name: model.adapt(*given) for name, model in learned.items()}
    models |= {"pooled": pooled, "per task": single}
    p = {name: model.predict_proba(X)[:, 1] for name, model in models.items()}
    return {"mode, true prior": expit(X @ known.posterior_mode(*given)), **p}


def accuracy_and_loss(p, y):
    of_label = np.maximum(np.where(y == 1, p, 1 - p), 1e-15)
    return np.mean((p > 0.5) == (y == 1)), -np.log(of_label).mean()


def logistic(args):
    draws = [logistic_scores(seed) for seed in range(args.draws or 4)]
    print(f"logistic tasks, 20 rows given, {len(draws)} draws: mean (lowest, highest)")
    print(f"{'':20}{'accuracy, %':>24}{'log loss':>26}")
    results = {}
    for name in draws[0]:
        scores = np.array([draw[name] for draw in draws]) * (100, 1)
        cells = [
            f"{v.mean():.{digits}f} ({v.min():.{digits}f}, {v.max():.{digits}f})"
            for v, digits in zip(scores.T, (2, 4), strict=True)
        ]
        print(f"{name:20}{cells[0]:>24}{cells[1]:>26}")
        results[name] = rounded(scores.mean(axis=0))
    return results


# -- mixed models ---------------------------------------------------------------------


def draw_sleep(seed):
    """Reaction times of 18 subjects on days 0 to 9, as in sleepstudy."""
    rng = np.random.default_rng(seed)
    subject, day = np.repeat(np.arange(18), 10), np.tile(np.arange(10.0), 18)
    intercept, slope = rng.normal(251, 24, 18), rng.normal(10.5, 6, 18)
    mean = intercept[subject] + slope[subject] * day
    return day, mean + rng.normal(0, 25.6, 180), subject


COLUMNS = ("slope", "intercept", "sd slope", "sd mid", "corr", "sd noise")


def summary(mean, covariance, noise_variance, centre):
    """COLUMNS of (slope, intercept at day 0), their covariance and the noise."""
    # This turns the intercept at day 0 into the value on the middle day.
    A = np.array([[1.0, 0.0], [centre, 1.0]])
    middle = A @ covariance @ A.T
    sd = np.sqrt(np.maximum(np.diag(middle), 0))
    corr = middle[0, 1] / sd.prod() if sd.prod() > 0 else 0.0
    return np.array([*mean, *sd, corr, np.sqrt(noise_variance)])


def learned_summary(day, y, subject, prior, tol):
    model = EmpiricalBayesRegressor(prior, tol=tol, random_state=0)
    model.fit(day[:, None], y, task=subject)
    mean = model.prior_coef_[0], model.prior_intercept_
    return summary(mean, model.prior_covariance_, model.noise_variance_, day.mean())


def core_summary(day, y, subject, tol):
    """The full structure without the penalty that draws correlations to zero."""
    x, z = (day - day.mean()) / day.std(), (y - y.mean()) / y.std()
    parts = [
        (np.column_stack([x[mine], np.ones(mine.sum())]), z[mine], np.ones(mine.sum()))
        for mine in (subject == s for s in np.unique(subject))
    ]
    tasks = gaussian.GaussianTasks.gather(parts, True)
    fit = first_fit(tasks, Full(2), tol=tol, max_iter=1000)
    A = np.array([[1 / day.std(), 0], [-day.mean() / day.std(), 1]]) * y.std()
    mean = A @ fit.mean + (0, y.mean())
    return summary(mean, A @ fit.covariance @ A.T, fit.noise * y.var(), day.mean())


def mixedlm_summary(day, y, subject, structure):
    from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

    ones, centred = np.ones(len(y)), day - day.mean()
    X = np.column_stack([centred, ones])
    free, Z = None, X
    if structure == "intercept":
        Z = ones[:, None]
    elif structure == "diagonal":
        free = MixedLMParams.from_components(np.ones(2), np.eye(2))
    model = MixedLM(y, X, groups=subject, exog_re=Z)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # BFGS, the default of MixedLM, may stop well below the maximum.
        fits = [
            model.fit(reml=False, free=free, method=method)
            for method in ("lbfgs", "cg")
        ]
    fit = max(fits, key=lambda fit: fit.llf)
    slope, middle = fit.fe_params
    covariance = np.zeros((2, 2))
    covariance[-len(fit.cov_re) :, -len(fit.cov_re) :] = np.asarray(fit.cov_re)
    back = np.array([[1.0, 0.0], [-day.mean(), 1.0]])
    mean = slope, middle - slope * day.mean()
    return summary(mean, back @ covariance @ back.T, fit.scale, day.mean())


def distance(ours, theirs):
    """Relative difference of each column; for correlations the difference itself.

    A deviation below 1 % of the noise's is compared in units of that.
    """
    scale = np.maximum(np.abs(theirs), 0.01 * theirs[-1])
    scale[COLUMNS.index("corr")] = 1
    return np.abs(ours - theirs) / scale


def compare_mixedlm(args):
    try:
        import statsmodels  # noqa: F401
    except ImportError:
        print("statsmodels is not installed: no comparison with MixedLM")
        return {}
    draws = [draw_sleep(seed) for seed in range(args.draws or 10)]
    print("first draw; and the largest relative difference to MixedLM over draws")
    heads = "".join(f"{name:>11}" for name in COLUMNS)
    print(f"{'':28}{heads}{'max diff':>11}")
    results = {}
    for structure in ("intercept", "diagonal", "full"):
        theirs = [mixedlm_summary(*draw, structure) for draw in draws]
        print_summary(f"MixedLM, {structure}", theirs[0], "")
        for name, ours in learned_fits(structure, draws).items():
            pairs = zip(ours, theirs, strict=True)
            worst = np.max([distance(*pair) for pair in pairs], axis=0)
            print_summary(name, ours[0], f"{worst.max():.1e}")
            by_column = dict(zip(COLUMNS, worst, strict=True))
            results[name] = {key: float(f"{v:.1e}") for key, v in by_column.items()}
    return results


def learned_fits(structure, draws):
    fits = {}
    for label, tol in (("", 1e-4), (", tol 1e-9", 1e-9)):
        ours = [learned_summary(*draw, structure, tol) for draw in draws]
        fits[f"learned, {structure}{label}"] = ours
    if structure == "full":
        fits["unpenalised, tol 1e-4"] = [core_summary(*draw, 1e-4) for draw in draws]
        fits["unpenalised, tol 1e-9"] = [core_summary(*draw, 1e-9) for draw in draws]
    return fits


def print_summary(label, values, last):
    cells = "".join(f"{value:11.4f}" for value in values)
    print(f"{label:28}{cells}{last:>11}", flush=True)


def draw_random_intercepts(seed, sd, n_tasks=60, n_rows=15):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_tasks, n_rows, 2))
    z = X @ [1.0, -0.5] + 0.3 + sd * rng.standard_normal((n_tasks, 1))
    return X, (rng.uniform(size=z.shape) < expit(z)).astype(int)


def exact_maximum(X, y, n_points=60):
    """(slopes, intercept, sd) of the largest likelihood, integrated numerically."""
    points, weights = np.polynomial.hermite_e.hermegauss(n_points)
    log_weights = np.log(weights / weights.sum())

    def negative(numbers):
        fixed = X @ numbers[:-2] + numbers[-2]
        z = fixed[..., None] + np.exp(numbers[-1]) * points
        of_task = (y[..., None] * z - np.logaddexp(0, z)).sum(axis=1)
        return -logsumexp(of_task + log_weights, axis=1).sum()

    numbers = minimize(negative, np.zeros(X.shape[-1] + 2), method="BFGS").x
    return np.array([*numbers[:-1], np.exp(numbers[-1])])


def learned_intercepts(X, y):
    model = EmpiricalBayesClassifier("intercept", random_state=0)
    model.meta_fit(list(zip(X, y, strict=True)))
    sd = np.sqrt(model.prior_covariance_[-1, -1])
    return np.array([*model.prior_coef_[0], model.prior_intercept_[0], sd])


def compare_exact(args):
    print("random-intercept labels: learned / literal maximum of the exact likelihood")
    heads = ("slope", "slope", "intercept", "sd")
    print(f"{'':14}" + "".join(f"{head:>19}" for head in heads) + f"{'variance':>12}")
    results = {}
    for sd in (0.5, 1.0, 2.0):
        differences = []
        for seed in range(args.draws or 5):
            X, y = draw_random_intercepts(seed, sd)
            ours, theirs = learned_intercepts(X, y), exact_maximum(X, y)
            # A variance below that of a deviation of 0.1 is compared in units of it.
            off = abs(ours[-1] ** 2 - theirs[-1] ** 2) / max(theirs[-1] ** 2, 0.01)
            differences.append(off)
            cells = "".join(
                f"{f'{a:.4f} / {b:.4f}':>19}" for a, b in zip(ours, theirs, strict=True)
            )
            print(f"sd {sd}, draw {seed}{cells}{off:12.2%}", flush=True)
        results[f"sd {sd}"] = float(f"{max(differences):.2g}")
    print(f"largest relative difference of the variance: {max(results.values()):.2%}")
    return results


def mixedlm(args):
    return {"MixedLM": compare_mixedlm(args), "exact likelihood": compare_exact(args)}


# -- queries --------------------------------------------------------------------------


def halves(task, rng):
    """Rows of a random half of the units, and of the others."""
    order = rng.permutation(task.n_units)
    in_pool = order[task.unit] < (task.n_units + 1) // 2
    return np.flatnonzero(in_pool), np.flatnonzero(~in_pool)


def one_by_one(model, X, y, n):
    """Rows asked about if each question waits for the answers to those before."""
    asked, left = [], list(range(len(y)))
    for _ in range(n):
        row = left[model.suggest_queries(X[left], 1)[0]]
        asked.append(row)
        left.remove(row)
        model = model.adapt(X[asked], y[asked])
    return asked


def query_error(model, X, y, classification):
    if not classification:
        return np.sqrt(np.mean((model.predict(X) - y) ** 2))
    p = model.predict_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    return -np.log(np.maximum(p, 1e-15)).mean()


def task_errors(model, task, classification, rng):
    """Errors with the rows suggested, asked one by one, 4 random and 6 random ones.

    And the number of rows to choose from.
    """
    pool, test = halves(task, rng)
    if len(pool) < N_RANDOM or len(test) < MIN_TEST:
        return None
    X, y = task.X[pool], task.y[pool]

    def error(rows):
        adapted = model.adapt(X[rows], y[rows])
        return query_error(adapted, task.X[test], task.y[test], classification)

    suggested = error(model.suggest_queries(X, N_ASKED))
    # The questions of a regressor do not depend on the answers.
    waiting = suggested
    if classification:
        waiting = error(one_by_one(model, X, y, N_ASKED))
    orders = [rng.permutation(len(pool)) for _ in range(N_RANDOM_DRAWS)]
    few = np.mean([error(order[:N_ASKED]) for order in orders])
    more = np.mean([error(order[:N_RANDOM]) for order in orders])
    return suggested, waiting, few, more, len(pool)


def set_errors(folder, name, seed):
    split = draw_split(folder, name, seed)
    kind = EmpiricalBayesClassifier if split.classification else EmpiricalBayesRegressor
    model = kind(fit_intercept=split.fit_intercept, random_state=0)
    model.meta_fit([(task.X, task.y) for task in split.train])
    rng = np.random.default_rng(seed)
    errors = [task_errors(model, t, split.classification, rng) for t in split.test]
    return [error for error in errors if error is not None], split.classification


def queries(args):
    print("error after 4 questions suggested (at once; one by one), 4 and 6 random;")
    print("relative differences, with a 95 % interval paired over tasks")
    heads = ("tasks", "pool", "at once", "by one", "4 random", "6 random")
    last = ("at once - 6 random", "at once - 4 random")
    print(f"{'':20}" + "".join(f"{h:>10}" for h in heads), end="")
    print("".join(f"{h:>20}" for h in last))
    results = {}
    for name in args.sets:
        errors = []
        for seed in range(args.draws or 2):
            found, classification = set_errors(args.data, name, seed)
            errors += found
        if errors:
            results[name] = report_queries(name, np.array(errors), classification)
        else:
            print(f"{name:20}  no task has enough rows")
    small = [name for name, row in results.items() if row["pool"] <= N_RANDOM + 1]
    print_average("all sets", results.values())
    print_average(
        f"without {', '.join(small) or 'any'} (pool of 6 or 7)",
        [row for name, row in results.items() if name not in small],
    )
    return results


def report_queries(name, errors, classification):
    *means, pool = errors.mean(axis=0)
    cells = [f"{value:10.4f}" for value in means]
    if not classification:  # They do not depend on the answers.
        cells[1] = f"{'':10}"
    for other in (3, 2):
        lag = (errors[:, 0] - errors[:, other]) / means[other]
        half = 1.96 * lag.std(ddof=1) / np.sqrt(len(lag))
        cells.append(f"{f'{lag.mean():+.1%} ± {half:.1%}':>20}")
    print(f"{name:20}{len(errors):10}{pool:10.1f}{''.join(cells)}", flush=True)
    return {
        "tasks": len(errors),
        "pool": round(float(pool), 1),
        "errors": rounded(means),
    }


def print_average(label, rows):
    if not rows:
        return
    errors = np.array([row["errors"] for row in rows])
    at_once, by_one, few = (errors[:, :3] / errors[:, 3:] - 1).mean(axis=0)
    print(
        f"mean difference from 6 random, {label}: suggested at once {at_once:+.2%}, "
        f"one by one {by_one:+.2%}, 4 random {few:+.2%}"
    )


# -- speed ----------------------------------------------------------------------------


def cpu_seconds(function):
    start = process_time()
    result = function()
    return process_time() - start, result


def speed(args):
    known = KnownPrior("diagonal", 20, np.random.default_rng(0))
    tasks = [known.regression(20)[1:] for _ in range(10_000)]
    results = {}
    print("CPU seconds, 20 rows and 20 features per task")
    for prior in ("auto", "diagonal"):
        for n_tasks in (1_000, 3_000, 10_000):
            model = EmpiricalBayesRegressor(prior, random_state=0)
            fit = partial(model.meta_fit, tasks[:n_tasks])
            seconds = cpu_seconds(fit)[0]
            results[f"meta_fit {n_tasks}, {prior}"] = round(seconds, 2)
            print(
                f"meta_fit of {n_tasks:6} tasks, {prior + ':':10}{seconds:7.2f} s, "
                f"{1e3 * seconds / n_tasks:.2f} ms per task, {model.n_iter_} "
                f"iterations of {model.prior_structure_}",
                flush=True,
            )
    results["adapt 10,000 at once"] = at_once = time_at_once(known, tasks)
    print(f"conditioning 10,000 tasks at once: {at_once:.2f} s")
    results["adapt and predict, ms"] = one = time_one(model, tasks)
    print(f"adapting one task and predicting 100 rows: {one:.2f} ms")
    return results


def time_at_once(known, tasks):
    X, y = (np.stack(part) for part in zip(*tasks, strict=True))
    n_tasks, _, d = X.shape
    mean = np.broadcast_to(known.mean, (n_tasks, d))
    factor = np.broadcast_to(known.factor, (n_tasks, d, d))
    seconds, _ = cpu_seconds(
        lambda: gaussian.condition(mean, factor, NOISE**2, X, y, np.ones(y.shape))
    )
    return round(seconds, 3)


def time_one(model, tasks, n_times=200):
    X = np.concatenate([X for X, _ in tasks[:5]])

    def adapt_and_predict():
        for task in tasks[:n_times]:
            model.adapt(*task).predict(X)

    return round(1e3 * cpu_seconds(adapt_and_predict)[0] / n_times, 3)


# -- all of it ------------------------------------------------------------------------

PARTS = {
    "oracle": oracle,
    "logistic": logistic,
    "mixedlm": mixedlm,
    "queries": queries,
    "speed": speed,
}


def rounded(values):
    return [round(float(value), 4) for value in values]


def save(path, results):
    """Add the results to the file, so that parts may be run one at a time."""
    path = Path(path)
    earlier = _results.load(path) if path.exists() else {}
    _results.save(path, earlier | results)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    needing_no_data = [part for part in PARTS if part != "queries"]
    parser.add_argument("--part", nargs="+", choices=PARTS, default=needing_no_data)
    parser.add_argument("--draws", type=int, help="draws, or splits, of each part")
    parser.add_argument("--data", type=Path, help="folder of data sets, for queries")
    parser.add_argument("--sets", nargs="+", default=QUERY_SETS, choices=QUERY_SETS)
    parser.add_argument("--save", help="file for the results, as JSON")
    args = parser.parse_args()
    if "queries" in args.part and args.data is None:
        parser.error("--part queries needs --data FOLDER")
    for part in args.part:
        print(f"\n== {part}")
        seconds, found = cpu_seconds(partial(PARTS[part], args))
        print(f"({seconds:.0f} s CPU)", flush=True)
        if args.save:
            save(args.save, {part: found})


if __name__ == "__main__":
    main()
