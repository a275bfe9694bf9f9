"""Which share of new targets lies in intervals of nominal 90 %, in simulated worlds.

    python benchmarks/coverage.py
    python benchmarks/coverage.py --seeds 20 --tasks 2 5 --rows 5

There is a line for each world, number of training tasks and number of their rows. It
holds the mean over seeds of the share in the intervals after 0, 1, 3 and 10 rows of a
new task, its standard deviation over seeds (which also draw the tasks themselves), and
the root mean square of the errors before adapting, in units of ``return_std``. With
``--widths`` it says by how many per cent widths differ between seeds of the estimator
on the same data.
"""

import argparse
import warnings

import numpy as np

from skmeta import EmpiricalBayesRegressor

N_GIVEN = (0, 1, 3, 10)
# There are 60 new tasks of 30 rows; the rows from the 20th on are predicted.
N_NEW, N_ROWS, N_HIDDEN = 60, 30, 20


def levels(rng, n):
    """Tasks differ by their level only."""
    X = rng.normal(size=(n, 2))
    return X, X @ [1.0, -1.0] + rng.normal() + rng.normal(size=n)


def slopes(rng, n):
    """Tasks differ by level and slopes."""
    X = rng.normal(size=(n, 2))
    coef = rng.normal([1.0, -1.0], 0.5)
    return X, X @ coef + rng.normal() + 0.7 * rng.normal(size=n)


def heavy_tails(rng, n):
    """Levels and noise are drawn from Student's t with 3 degrees of freedom."""
    X = rng.normal(size=(n, 2))
    level, noise = rng.standard_t(3), rng.standard_t(3, size=n)
    return X, X @ [1.0, -1.0] + level + 0.7 * noise


def within_between(rng, n):
    """The slope between tasks differs from the slope within them."""
    centre, x = 10 * rng.normal(), rng.normal(size=n)
    y = 3 * centre + 9 * rng.normal() - 2 * x + rng.normal(size=n)
    return (centre + x)[:, None], y


def two_kinds(rng, n):
    """The level and the slope of a task are both 3, or both -3."""
    X, sign = rng.normal(size=(n, 1)), rng.choice([-3.0, 3.0])
    return X, sign * (1.0 + X[:, 0]) + rng.normal(size=n)


def wide(rng, n):
    """Levels differ by 300 times the noise."""
    X = rng.normal(size=(n, 1))
    return X, 5 * X[:, 0] + 300 * rng.normal() + rng.normal(size=n)


WORLDS = (levels, slopes, heavy_tails, within_between, two_kinds, wide)


def fitted(world, n_tasks, n_rows, rng, seed):
    tasks = [world(rng, n_rows) for _ in range(n_tasks)]
    return EmpiricalBayesRegressor(random_state=seed).meta_fit(tasks)


def shares(model, new):
    """Share in the intervals by number of rows, and squared error in deviations."""
    held, squares = np.zeros((len(new), len(N_GIVEN))), []
    for i, (X, y) in enumerate(new):
        hidden, target = X[N_HIDDEN:], y[N_HIDDEN:]
        mean, deviation = model.predict(hidden, return_std=True)
        squares.append(np.mean(((target - mean) / deviation) ** 2))
        for j, n in enumerate(N_GIVEN):
            adapted = model.adapt(X[:n], y[:n]) if n else model
            low, high = adapted.predict_interval(hidden).T
            held[i, j] = np.mean((low <= target) & (target <= high))
    return held.mean(axis=0), np.mean(squares)


def coverage(world, n_tasks, n_rows, n_seeds):
    """A line of the table."""
    held, squares = [], []
    for seed in range(n_seeds):
        rng = np.random.default_rng(seed)
        model = fitted(world, n_tasks, n_rows, rng, seed)
        share, square = shares(model, [world(rng, N_ROWS) for _ in range(N_NEW)])
        held.append(share)
        squares.append(square)
    cells = zip(np.mean(held, axis=0), np.std(held, axis=0), strict=True)
    text = "  ".join(f"{100 * mean:4.0f} ({100 * std:2.0f})" for mean, std in cells)
    return f"{text}  {np.sqrt(np.mean(squares)):5.2f}"


def widths(world, n_tasks, n_rows, n_seeds):
    """Standard deviation of the widths over seeds of the estimator, in per cent."""
    found = []
    for seed in range(n_seeds):
        rng = np.random.default_rng(0)
        model = fitted(world, n_tasks, n_rows, rng, seed)
        X, y = world(rng, N_ROWS)
        models = [model.adapt(X[:n], y[:n]) if n else model for n in N_GIVEN]
        found.append([np.diff(m.predict_interval(X)).mean() for m in models])
    spread = 100 * np.std(found, axis=0) / np.mean(found, axis=0)
    return "  ".join(f"{one:9.1f}" for one in spread)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--tasks", type=int, nargs="+", default=[5, 20, 100])
    parser.add_argument("--rows", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--widths", action="store_true")
    args = parser.parse_args()
    # This script asks for few tasks, of which the estimator would warn.
    warnings.filterwarnings("ignore", "Deviations and intervals rest on")
    names = "".join(f"{f'{n} rows':>11}" for n in N_GIVEN)
    last = "" if args.widths else "  errors / std"
    print(f"{'world':15}{'tasks':>6}{'rows':>5}{names}{last}")
    line = widths if args.widths else coverage
    for world in WORLDS:
        for n_tasks in args.tasks:
            for n_rows in args.rows:
                text = line(world, n_tasks, n_rows, args.seeds)
                print(f"{world.__name__:15}{n_tasks:6}{n_rows:5}  {text}", flush=True)


if __name__ == "__main__":
    main()
