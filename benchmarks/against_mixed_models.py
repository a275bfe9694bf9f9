"""Many small tasks against two mixed models in compiled code: mixedlm and GPBoost.

    pip install mixedlm gpboost pandas
    OMP_NUM_THREADS=1 python benchmarks/against_mixed_models.py [--save results.json]

Each fits random intercepts and independent random slopes by maximum likelihood to the
rows of 10,000 tasks (20 rows, 5 columns), and then predicts half of the rows of 10,000
new tasks from the other half. What is measured: CPU seconds, the least of ``--repeats``
runs; the log likelihood that was reached, at a common scale; the largest
difference of a mean coefficient or of a deviation between tasks from ours; and the root
mean squared error on the new tasks, whose noise has a deviation of 1.

The contenders see the same arrays. A DataFrame and matrices with a column of ones are
made before the clock starts. mixedlm predicts new groups by the mean alone, since it
has no call that takes their rows. GPBoost takes them by a second model of these rows,
with the covariance parameters of the first one.
"""

import argparse
import time

import _results
import gpboost
import mixedlm
import numpy as np
import pandas as pd

from skmeta import EmpiricalBayesRegressor

DEVIATIONS = np.array([0.5, 0.4, 0.3, 0.2, 0.1, 0.8])  # of the intercept last
COLUMNS = ["a", "b", "c", "d", "e"]


def draw(n_tasks, n_rows, seed):
    """Rows X, targets and tasks; slopes of mean 1, and the intercept."""
    rng = np.random.default_rng(seed)
    n_columns = len(COLUMNS)
    X = rng.normal(size=(n_tasks * n_rows, n_columns))
    task = np.repeat(np.arange(n_tasks), n_rows)
    theta = 1.0 + rng.normal(size=(n_tasks, n_columns + 1)) * DEVIATIONS
    y = (X * theta[task, :-1]).sum(axis=1) + theta[task, -1]
    return X, y + rng.normal(size=len(y)), task


class Ours:
    """skmeta."""

    def prepare(self, X, y, task):
        return X, y, task

    def fit(self, X, y, task):
        self.model = EmpiricalBayesRegressor("diagonal", noise="shared", random_state=0)
        self.model.fit(X, y, task=task)

    def adapt(self, known, new):
        return self.model.adapt_predict(
            *known[:2], new[0], task=known[2], task_new=new[2]
        )

    def found(self):
        """Log likelihood, means and deviations of coefficients, the intercept last."""
        model = self.model
        mean = np.append(model.prior_coef_, model.prior_intercept_)
        deviations = np.sqrt(np.diag(model.prior_covariance_))
        return model.log_marginal_likelihood_, mean, deviations


class MixedLM:
    """mixedlm, in Rust: lme4's algorithm."""

    def prepare(self, X, y, task):
        return pd.DataFrame(X, columns=COLUMNS).assign(y=y, task=task)

    def fit(self, *frame):
        terms = " + ".join(COLUMNS)
        formula = f"y ~ {terms} + ({terms} || task)"
        self.model = mixedlm.lmer(formula, *frame, REML=False)

    def adapt(self, known, new):
        frame = self.prepare(*new).assign(task="new")
        return np.asarray(self.model.predict(frame, allow_new_levels=True))

    def found(self):
        value = float(self.model.logLik().value)
        of_name = self.model.fixef()
        mean = np.array([of_name[name] for name in [*COLUMNS, "(Intercept)"]])
        groups = self.model.VarCorr().groups.values()
        deviations = {
            term: sd
            for group in groups
            for term, sd in zip(
                group.term_names,
                np.atleast_1d(list(group.stddev.values())),
                strict=True,
            )
        }
        of_terms = [deviations[name] for name in [*COLUMNS, "(Intercept)"]]
        return value, mean, np.array(of_terms)


class GPBoost:
    """GPBoost, in C++."""

    def prepare(self, X, y, task):
        return X, y, task, np.column_stack([np.ones(len(X)), X])

    def _model(self, X, task):
        return gpboost.GPModel(
            group_data=task,
            group_rand_coef_data=X,
            ind_effect_group_rand_coef=[1] * X.shape[1],
            likelihood="gaussian",
            num_parallel_threads=1,
        )

    def fit(self, X, y, task, design):
        self.model = self._model(X, task)
        self.model.fit(y=y, X=design)

    def adapt(self, known, new):
        (X, y, task), (X_new, _, task_new) = known, new
        intercept, *slopes = np.ravel(self.model.get_coef())[: X.shape[1] + 1]
        told = self._model(X, task).predict(
            y=y - intercept - X @ slopes,
            group_data_pred=task_new,
            group_rand_coef_data_pred=X_new,
            cov_pars=np.ravel(self.model.get_cov_pars())[: X.shape[1] + 2],
            predict_var=False,
        )
        return told["mu"] + intercept + X_new @ slopes

    def found(self):
        n = len(COLUMNS) + 1
        variances = np.ravel(self.model.get_cov_pars())[1 : n + 1]
        mean = np.ravel(self.model.get_coef())[:n]
        value = -float(self.model.get_current_neg_log_likelihood())
        return value, np.roll(mean, -1), np.roll(np.sqrt(variances), -1)


CONTENDERS = {"skmeta": Ours, "mixedlm": MixedLM, "GPBoost": GPBoost}


def measured(contender, train, known, new, n_repeats):
    """Seconds of fit and of adapting, and what was found."""
    prepared = contender.prepare(*train)
    prepared = prepared if isinstance(prepared, tuple) else (prepared,)
    fits, adapts = [], []
    for _ in range(n_repeats):
        started = time.process_time()
        contender.fit(*prepared)
        fits.append(time.process_time() - started)
        started = time.process_time()
        predicted = contender.adapt(known, new)
        adapts.append(time.process_time() - started)
    value, mean, deviations = contender.found()
    return {
        "fit_seconds": round(min(fits), 3),
        "adapt_seconds": round(min(adapts), 3),
        "log_likelihood": round(float(value), 3),
        "rmse": round(float(np.sqrt(np.mean((predicted - new[1]) ** 2))), 4),
        "mean": mean.tolist(),
        "deviations": deviations.tolist(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--save", help="file for the results, as JSON")
    args = parser.parse_args()
    train, others = (draw(args.tasks, args.rows, seed) for seed in (0, 1))
    half = np.arange(len(others[0])) % 2 == 0
    known, new = (tuple(part[some] for part in others) for some in (half, ~half))
    results = {}
    for name, contender in CONTENDERS.items():
        found = measured(contender(), train, known, new, args.repeats)
        ours = results.get("skmeta", found)
        apart = max(
            np.abs(np.subtract(found[what], ours[what])).max()
            for what in ("mean", "deviations")
        )
        found["largest_difference"] = float(f"{apart:.2g}")
        results[name] = found
        print(
            f"{name:8}  fit {found['fit_seconds']:7.2f} s   "
            f"adapt {found['adapt_seconds']:6.2f} s   "
            f"log likelihood {found['log_likelihood']:.2f}   "
            f"differs by {apart:.1e}   RMSE of new tasks {found['rmse']:.3f}",
            flush=True,
        )
    best = max(found["log_likelihood"] for found in results.values())
    for name, found in results.items():
        if found["log_likelihood"] < best - 0.01:
            print(f"{name} ended {best - found['log_likelihood']:.2f} below the best.")
    _results.save(
        args.save,
        {
            "tasks": args.tasks,
            "rows": args.rows,
            "columns": len(COLUMNS),
            "repeats": args.repeats,
            "versions": {
                "mixedlm": mixedlm.__version__,
                "GPBoost": gpboost.__version__,
            },
            "results": results,
        },
    )


if __name__ == "__main__":
    main()
