"""Few-shot regression of sine waves: the family of MAML and the demo of Reptile.

    python benchmarks/sinusoid.py                  # MAML family, three seeds
    python benchmarks/sinusoid.py --demo           # the Reptile authors' demo

MAML family (Finn et al., 2017): amplitude U[0.1, 5], phase U[0, pi], x U[-5, 5],
network 1-40-40-1, 600 test tasks of 100 query points. Published 5-shot error of MAML
after 1 / 5 / 10 steps: 0.67 / 0.38 / 0.35.

Demo (Nichol et al., 2018; no number is published): phase U[0, 2 pi], 50 points on a
grid, network 1-64-64-1, an inner loop of one epoch of minibatches of 10 at the rate
0.02 of the mean squared error (0.04 of half of it), meta-step 0.1 falling to 0 over
30,000 tasks, one at a time, and no standardisation. Tested by 32 steps on 10 of the 50
points. With one inner step Reptile is joint training, which must fail to adapt.

Set OMP_NUM_THREADS=1 to measure one core. Prints the mean over seeds, its spread, and
the CPU seconds of meta-training.
"""

import argparse
import json
import time

import numpy as np

from skmeta import ReptileRegressor
from skmeta.datasets import make_sinusoid_tasks

STEPS = (0, 1, 5, 10, 32)
SHOTS = (5, 10, 20)


def float32(tasks):
    return [(X.astype(np.float32), y.astype(np.float32)) for X, y in tasks]


def query_error(model, tasks, n_support, n_steps):
    """Mean squared error after adapting to the first rows of each task."""
    model.set_params(adapt_steps=n_steps)
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
            learn_rates=None,  # tasks without noise: nothing to hold back for
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
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--max-iter", type=int, help="meta-iterations")
    parser.add_argument("--save", help="file for the results, as JSON")
    args = parser.parse_args()
    if args.demo:
        runs = reptile_demo(args.seeds, args.max_iter or 30_000)
    else:
        runs = maml_family(args.seeds, args.max_iter or 16_000)
    if args.save:
        with open(args.save, "w") as file:
            json.dump(runs, file, indent=1)


if __name__ == "__main__":
    main()
