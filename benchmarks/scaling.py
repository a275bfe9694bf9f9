"""How cost and memory grow with tasks, rows, features, units and meta-batch.

    OMP_NUM_THREADS=1 python benchmarks/scaling.py [--save results.json] [--quick]

What is measured: the CPU seconds of a whole call, the least of three, and the exponent
of a power law fitted to the upper half of the sizes (where the work that a call does
only once counts least). Memory is the peak of what the call allocates beyond the data
it is given, as a multiple of their size (tracemalloc, in a run of its own). The last
table compares the wall-clock seconds of one and of two threads (``n_jobs``), which need
a free core.
"""

import argparse
import time
import tracemalloc
from functools import partial

import _results
import numpy as np

from skmeta import EmpiricalBayesRegressor, ReptileRegressor


def make_rows(n_tasks=1000, n_rows=10, n_features=20, dtype=np.float32):
    """Rows of linear tasks whose slopes differ: X, y, task."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_tasks * n_rows, n_features)).astype(dtype)
    task = np.repeat(np.arange(n_tasks), n_rows)
    slopes = rng.normal(size=(n_tasks, 2)).astype(dtype)
    y = (X[:, :2] * slopes[task]).sum(axis=1) + rng.normal(size=len(X)).astype(dtype)
    return X, y.astype(dtype), task


def train(hidden, n_iterations, every_task, X, y, task):
    """Meta-train Reptile with its defaults, on all tasks or 25 per iteration."""
    model = ReptileRegressor(
        hidden,
        meta_batch_size=task[-1] + 1 if every_task else 25,
        max_iter=n_iterations,
        random_state=0,
    )
    return model.fit(X, y, task=task)


def learn_prior(X, y, task):
    return EmpiricalBayesRegressor(prior="diagonal").fit(X, y, task=task)


def adapt_all(model, X, y, task):
    """Adapt to the first half of each task's rows, predict the other."""
    known = np.arange(len(X)) % 2 == 0
    return model.adapt_predict(
        X[known], y[known], X[~known], task=task[known], task_new=task[~known]
    )


def by_meta_batch(X, y, task, *, size):
    model = ReptileRegressor((32,), meta_batch_size=size, max_iter=20, random_state=0)
    return model.fit(X, y, task=task)


def cases(quick):
    """Tuples (what, what grows, sizes, function from a size to call and data)."""
    thousands = [10**2, 10**3, 10**4] + ([] if quick else [10**5])

    def with_model(n_tasks):
        data = make_rows(n_tasks)
        model = train((32,), 5, False, *make_rows(100))
        return partial(adapt_all, model), data

    all_tasks = partial(train, (), 5, True)
    network = partial(train, (32,), 3, True)
    some = partial(train, (32,), 50, False)
    yield "Reptile, linear", "tasks", thousands, lambda n: (all_tasks, make_rows(n))
    yield "Reptile, 32 units", "tasks", thousands, lambda n: (network, make_rows(n))
    yield "learned prior", "tasks", thousands, lambda n: (learn_prior, make_rows(n))
    yield "adapt_predict, 32 units", "tasks", thousands, with_model
    rows = [20, 40, 80, 160, 320, 640]
    prior_rows = [(n, make_rows(1000, n)) for n in (rows[:3] if quick else rows)]
    yield (
        "learned prior",
        "rows per task",
        [n for n, _ in prior_rows],
        lambda n: (learn_prior, dict(prior_rows)[n]),
    )
    features = [50, 100, 200, 400, 800]
    yield (
        "Reptile, 32 units",
        "features",
        features[:3] if quick else features,
        lambda d: (some, make_rows(100, 20, d)),
    )
    units = [32, 64, 128, 256, 512]
    yield (
        "Reptile, two layers",
        "units",
        units[:3] if quick else units,
        lambda h: (partial(train, (h, h), 10, False), make_rows(100, 20)),
    )
    sizes = [8, 16, 32, 64, 128, 256, 512]
    yield (
        "Reptile, 32 units",
        "meta-batch",
        sizes[:4] if quick else sizes,
        lambda m: (partial(by_meta_batch, size=m), make_rows(1000)),
    )


def seconds(call, data):
    def once():
        started = time.process_time()
        call(*data)
        return time.process_time() - started

    return min(once() for _ in range(3))


def memory(call, data):
    """Peak of what a call allocates, over the size of its data."""
    tracemalloc.start()
    call(*data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / sum(part.nbytes for part in data)


def threads():
    """Wall clock by one thread over that by two, on large meta-batches."""
    for rows, n_tasks, hidden in ((10, 400, 64), (50, 100, 64), (50, 400, 32)):
        data = make_rows(n_tasks, rows, 10)
        took, starts = {1: np.inf, 2: np.inf}, {}
        for _ in range(5):
            for n_jobs in took:
                model = ReptileRegressor(
                    (hidden, hidden),
                    support_size=None,
                    meta_batch_size=n_tasks,
                    max_iter=10,
                    n_jobs=n_jobs,
                    random_state=0,
                )
                started = time.perf_counter()
                model.fit(*data[:2], task=data[2])
                took[n_jobs] = min(took[n_jobs], time.perf_counter() - started)
                starts[n_jobs] = model.prior_coefs_
        same = all(
            np.array_equal(a, b) for a, b in zip(starts[1], starts[2], strict=True)
        )
        yield {
            "what": f"{n_tasks} tasks of {rows} rows, {hidden}-{hidden}",
            "speed_up": round(took[1] / took[2], 2),
            "identical": same,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--save", help="file for the results, as JSON")
    parser.add_argument("--quick", action="store_true", help="leave out large sizes")
    args = parser.parse_args()
    results = []
    for what, by, sizes, make in cases(args.quick):
        took, peaks = [], []
        for size in sizes:
            call, data = make(size)
            # The first call also makes buffers and imports modules.
            call(*data)
            took.append(seconds(call, data))
            peaks.append(memory(call, data))
        upper = slice(len(sizes) // 2 - (len(sizes) < 4), None)
        exponent = np.polyfit(np.log(sizes[upper]), np.log(took[upper]), 1)[0]
        print(f"\n{what}, {by}: exponent {exponent:.2f}")
        for size, s, peak in zip(sizes, took, peaks, strict=True):
            print(f"  {size:8} {s:10.4f} s   {peak:6.2f} x the data", flush=True)
        results.append(
            {
                "what": what,
                "by": by,
                "exponent": round(float(exponent), 3),
                "sizes": sizes,
                "cpu_seconds": [round(s, 5) for s in took],
                "peak_over_data": [round(peak, 3) for peak in peaks],
            }
        )
    two = list(threads())
    for result in two:
        print(f"\ntwo threads, {result['what']}: {result['speed_up']} x", end="")
    print()
    _results.save(args.save, {"growth": results, "threads": two})


if __name__ == "__main__":
    main()
