"""Few-shot regression of sine waves: the family of MAML and the demo of Reptile.

    python benchmarks/sinusoid.py                  # MAML family, three seeds
    python benchmarks/sinusoid.py --features       # learned features, both families
    python benchmarks/sinusoid.py --demo           # the Reptile authors' demo
    python benchmarks/sinusoid.py --defaults       # both estimators as they come

MAML family (Finn et al., 2017): amplitude U[0.1, 5], phase U[0, pi], x U[-5, 5],
network 1-40-40-1, 600 test tasks of 100 query points. Published 5-shot error of MAML
after 1 / 5 / 10 steps: 0.67 / 0.38 / 0.35.

Demo (Nichol et al., 2018; no number is published): phase U[0, 2 pi], 50 points on a
grid, network 1-64-64-1, an inner loop of one epoch of minibatches of 10 at the rate
0.02 of the mean squared error (0.04 of half of it), meta-step 0.1 falling to 0 over
30,000 tasks, one at a time, and no standardisation. Tested by 32 steps on 10 of the 50
points. With one inner step Reptile is joint training, which must fail to adapt.

Learned features: EmpiricalBayesRegressor with the same hidden layers, 10,000 tasks of
40 rows, on the MAML family and on that of Meta-SGD (Li et al., 2017), whose frequency
is U[0.8, 1.2]; adapting is one solve. Published errors of Meta-SGD after one step, with
5 / 10 / 20 shots: 0.88 / 0.53 / 0.35. The rival is a Gaussian process with an RBF
kernel whose length and noise are those most likely for training tasks.

Defaults: what both estimators reach on the MAML family with nothing set but the hidden
layers (40, 40), when they choose the length of a run and the pull by themselves.

Set OMP_NUM_THREADS=1 to measure one core. The script prints the mean over seeds, its
spread, and the CPU seconds of meta-training.
"""

import argparse
import time
import warnings

import _results
import numpy as np
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from skmeta import EmpiricalBayesRegressor, LearnedFeatures, ReptileRegressor
from skmeta.datasets import make_sinusoid_tasks

STEPS = (0, 1, 5, 10, 32)
SHOTS = (5, 10, 20)
# Rows of a training task for Reptile and for learned features, as in the tuned runs.
ROWS = (30, 40)


def float32(tasks):
    return [(X.astype(np.float32), y.astype(np.float32)) for X, y in tasks]


def query_error(model, tasks, n_support, n_steps):
    """Mean squared error after so many steps on the first rows of each task."""
    return error_of(model.set_params(adapt_steps=n_steps), tasks, n_support)


def error_of(model, tasks, n_support):
    """Mean squared error after adapting to the first rows of each task."""
    errors = []
    for X, y in tasks:
        adapted = model.adapt(X[:n_support], y[:n_support])
        errors.append(np.mean((adapted.predict(X[n_support:]) - y[n_support:]) ** 2))
    return float(np.mean(errors))


def maml_family(seeds, max_iter):
    train = float32(make_sinusoid_tasks(10_000, 30, random_state=12345))
    test = {
        k: float32(make_sinusoid_tasks(600, k + 100, random_state=k)) for k in SHOTS
    }
    runs = []
    for seed in seeds:
        model = ReptileRegressor(
            hidden_layer_sizes=(40, 40),
            learning_rate=0.3,
            # Tasks without noise give no reason to move less in some directions.
            learn_rates=None,
            alpha=0.0,
            support_size=10,
            meta_batch_size=3,
            max_iter=max_iter,
            random_state=seed,
        )
        started = time.process_time()
        model.meta_fit(train)
        cpu = time.process_time() - started
        error = {k: [query_error(model, test[k], k, n) for n in STEPS] for k in SHOTS}
        print(f"seed {seed}: {cpu:.0f} s CPU of meta-training", flush=True)
        runs.append({"seed": seed, "cpu_seconds": cpu, "error": error})
    print("\nMSE, mean over seeds (lowest - highest)")
    print("shots " + "".join(f"{f'{n} steps':>24}" for n in STEPS))
    for k in SHOTS:
        table = np.array([run["error"][k] for run in runs])
        cells = zip(table.mean(0), table.min(0), table.max(0), strict=True)
        line = "".join(f"{f'{m:.3f} ({a:.3f} - {b:.3f})':>24}" for m, a, b in cells)
        print(f"{k:5d} {line}")
    return runs


FAMILIES = {"MAML": (1.0, 1.0), "Meta-SGD": (0.8, 1.2)}


def learned_features(seeds, max_iter):
    runs = []
    for family, frequency in FAMILIES.items():
        train = make_sinusoid_tasks(10_000, 40, frequency=frequency, random_state=12345)
        test = {
            k: make_sinusoid_tasks(600, k + 100, frequency=frequency, random_state=k)
            for k in SHOTS
        }
        print(f"\n{family} family: MSE, and share of queries in 90 % intervals")
        print(f"{'':28}" + "".join(f"{f'{k} shots':>20}" for k in SHOTS))
        contenders = {"Gaussian process": gaussian_process(train[:1000])}
        contenders |= {f"features, seed {seed}": seed for seed in seeds}
        for label, seed in contenders.items():
            started = time.process_time()
            adapted_to, cpu = seed, 0.0
            if label.startswith("features"):
                features = LearnedFeatures((40, 40), max_iter=max_iter)
                model = EmpiricalBayesRegressor(features=features, random_state=seed)
                adapted_to = model.meta_fit(train).adapt
                cpu = time.process_time() - started
                label = f"{label}, {cpu:.0f} s CPU"
            scores = {k: solved(adapted_to, test[k], k) for k in SHOTS}
            cells = (f"{mse:.2g} ({share:.2f})" for mse, share in scores.values())
            print(f"{label:28}" + "".join(f"{c:>20}" for c in cells), flush=True)
            runs.append(
                {"family": family, "who": label, "cpu_seconds": cpu, "scores": scores}
            )
    return runs


def gaussian_process(tasks):
    """Adapt a Gaussian process whose kernel suits the training tasks best."""
    kernels = [
        ConstantKernel(variance) * RBF(length) + WhiteKernel(noise)
        for variance in (2.0, 5.0, 10.0)
        for length in (1.0, 1.5, 2.0, 2.5)
        for noise in (1e-6, 1e-4, 1e-2)
    ]
    likelihood = [
        sum(
            GaussianProcessRegressor(kernel, optimizer=None)
            .fit(X[:10], y[:10])
            .log_marginal_likelihood_value_
            for X, y in tasks[:100]
        )
        for kernel in kernels
    ]
    best = GaussianProcessRegressor(kernels[int(np.argmax(likelihood))], optimizer=None)
    return lambda X, y: clone(best).fit(X, y)


def solved(adapted_to, tasks, k):
    """Mean squared error, and share of queries inside 90 % intervals."""
    errors, inside = [], []
    for X, y in tasks:
        model = adapted_to(X[:k], y[:k])
        if hasattr(model, "predict_interval"):
            middle = model.predict(X[k:])
            low, high = model.predict_interval(X[k:], coverage=0.9).T
        else:
            middle, deviation = model.predict(X[k:], return_std=True)
            low, high = middle - 1.645 * deviation, middle + 1.645 * deviation
        errors.append(np.mean((middle - y[k:]) ** 2))
        inside.append(np.mean((low <= y[k:]) & (y[k:] <= high)))
    return float(np.mean(errors)), float(np.mean(inside))


def defaults(seeds):
    """Both estimators with nothing set but their hidden layers, on the MAML family."""
    many = {
        rows: make_sinusoid_tasks(10_000, rows, random_state=12345) for rows in ROWS
    }
    test = {k: make_sinusoid_tasks(600, k + 100, random_state=k) for k in SHOTS}
    print(f"{'':28}" + "".join(f"{f'{k} shots':>12}" for k in SHOTS) + f"{'CPU s':>8}")
    runs = []
    for seed in seeds:
        reptile = ReptileRegressor((40, 40), random_state=seed)
        features = EmpiricalBayesRegressor(
            features=LearnedFeatures((40, 40)), random_state=seed
        )
        for model, rows in zip((reptile, features), ROWS, strict=True):
            who = type(model).__name__
            single = float32 if model is reptile else list
            tasks, started = single(many[rows]), time.process_time()
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                model.meta_fit(tasks)
            cpu = time.process_time() - started
            error = {k: error_of(model, single(test[k]), k) for k in SHOTS}
            cells = "".join(f"{mse:>12.2g}" for mse in error.values())
            print(f"{f'{who}, seed {seed}':28}{cells}{cpu:>8.0f}", flush=True)
            runs.append(
                {
                    "who": who,
                    "seed": seed,
                    "cpu_seconds": cpu,
                    "n_iter": getattr(model, "n_feature_iter_", model.n_iter_),
                    "warnings": [str(warning.message) for warning in said],
                    "error": error,
                }
            )
    return runs


def demo_tasks(n_tasks, seed):
    """Sine waves on a grid of 50 points, the same for all tasks."""
    rng = np.random.default_rng(seed)
    grid = np.linspace(-5.0, 5.0, 50)
    a, b = rng.uniform(0.1, 5.0, n_tasks), rng.uniform(0.0, 2 * np.pi, n_tasks)
    return float32(
        [(grid[:, None], a[t] * np.sin(grid + b[t])) for t in range(n_tasks)]
    )


def demo_error(model, tasks, seed):
    """Mean squared error on the grid after 32 steps on 10 of its points."""
    rng = np.random.default_rng(seed)
    model.set_params(adapt_steps=32)
    errors = []
    for X, y in tasks:
        rows = rng.permutation(len(y))[:10]
        errors.append(np.mean((model.adapt(X[rows], y[rows]).predict(X) - y) ** 2))
    return float(np.mean(errors)), 1.96 * float(np.std(errors)) / np.sqrt(len(errors))


def reptile_demo(seeds, max_iter):
    test = demo_tasks(1000, seed=999)
    runs = []
    for seed in seeds:
        train = demo_tasks(max_iter, seed)
        for inner_steps in (5, 1):
            model = ReptileRegressor(
                hidden_layer_sizes=(64, 64),
                learning_rate=0.04,
                learn_rates=None,
                inner_steps=inner_steps,
                batch_size=10,
                support_size=None,
                alpha=0.0,
                meta_step=0.1,
                meta_batch_size=1,
                max_iter=max_iter,
                standardize=False,
                random_state=seed,
            )
            started = time.process_time()
            model.meta_fit(train)
            cpu = time.process_time() - started
            error, half = demo_error(model, test, seed)
            print(
                f"seed {seed}, {inner_steps} inner steps: MSE {error:.3f} ± {half:.3f} "
                f"after 32 steps, {cpu:.0f} s CPU",
                flush=True,
            )
            runs.append(
                {"seed": seed, "inner_steps": inner_steps, "error": error, "cpu": cpu}
            )
    return runs


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--demo", action="store_true", help="the authors' demo")
    parser.add_argument("--features", action="store_true", help="learned features")
    parser.add_argument("--defaults", action="store_true", help="nothing is set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--max-iter", type=int, help="meta-iterations")
    parser.add_argument("--save", help="file for the results, as JSON")
    args = parser.parse_args()
    if args.demo:
        runs = reptile_demo(args.seeds, args.max_iter or 30_000)
    elif args.defaults:
        runs = defaults(args.seeds)
    elif args.features:
        runs = learned_features(args.seeds, args.max_iter or 8_000)
    else:
        runs = maml_family(args.seeds, args.max_iter or 16_000)
    _results.save(args.save, runs)


if __name__ == "__main__":
    main()
