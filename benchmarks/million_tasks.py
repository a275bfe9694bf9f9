"""How a fit of the learned prior grows from 10,000 tasks to a million.

    OMP_NUM_THREADS=1 python benchmarks/million_tasks.py [--save FILE] [--most N]

Tasks have 10 rows of 8 columns in double precision, in random order, and settings are
the defaults but for the structure, which is "diagonal". What is measured is the CPU
seconds of ``fit`` from rows to a fitted prior, and the peak of what it allocates beyond
the data, as a multiple of their size (tracemalloc, in a run of its own). An exponent is
that of the power law through the smallest and the largest size. Of the time, what a fit
of 200 tasks takes is left out for it: so many tasks choose the structure in any case.
"""

import argparse
import time
import tracemalloc

import _results
import numpy as np

from skmeta import EmpiricalBayesClassifier, EmpiricalBayesRegressor

N_ROWS, N_COLUMNS = 10, 8
MODELS = {
    "regressor": (EmpiricalBayesRegressor, 10**6),
    "regressor, noise per task": (EmpiricalBayesRegressor, 10**6),
    "classifier": (EmpiricalBayesClassifier, 10**5),
}


def draw(n_tasks, labels):
    """X, y and tasks, shuffled."""
    rng = np.random.default_rng(0)
    task = np.repeat(np.arange(n_tasks), N_ROWS)
    rng.shuffle(task)
    X = rng.normal(size=(len(task), N_COLUMNS))
    theta = 1.0 + 0.5 * rng.normal(size=(n_tasks, N_COLUMNS))
    y = rng.normal(size=len(task))
    for column in range(N_COLUMNS):
        y += X[:, column] * theta[task, column]
    return X, (y > 0).astype(float) if labels else y, task


def make(name):
    model, _ = MODELS[name]
    if model is EmpiricalBayesClassifier:
        return model("diagonal", random_state=0)
    noise = "task" if "noise" in name else "shared"
    return model("diagonal", noise=noise, random_state=0)


def seconds(model, X, y, task):
    started = time.process_time()
    model.fit(X, y, task=task)
    return time.process_time() - started


def peak(model, X, y, task):
    """Peak of what a fit allocates, over the size of its data."""
    tracemalloc.start()
    model.fit(X, y, task=task)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / (X.nbytes + y.nbytes + task.nbytes)


def exponent(sizes, values):
    return float(np.log(values[-1] / values[0]) / np.log(sizes[-1] / sizes[0]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--save", help="file for the results, as JSON")
    parser.add_argument("--most", type=int, default=10**6, help="largest number")
    args = parser.parse_args()
    results = []
    for name, (_, most) in MODELS.items():
        labels = name == "classifier"
        sizes = [n for n in (10**4, 10**5, 10**6) if n <= min(most, args.most)]
        few = draw(200, labels)
        # the first call also imports modules
        fixed = min(seconds(make(name), *few) for _ in range(4))
        took, peaks = [], []
        for n_tasks in sizes:
            data = draw(n_tasks, labels)
            repeats = 3 if n_tasks < 10**6 else 1
            took.append(min(seconds(make(name), *data) for _ in range(repeats)))
            peaks.append(peak(make(name), *data))
            print(
                f"{name:26} {n_tasks:9,} {took[-1]:8.2f} s {peaks[-1]:6.2f} x the data",
                flush=True,
            )
        bytes_ = [n * ratio for n, ratio in zip(sizes, peaks, strict=True)]
        results.append(
            {
                "what": name,
                "sizes": sizes,
                "cpu_seconds": [round(s, 3) for s in took],
                "seconds_of_200": round(fixed, 3),
                "peak_over_data": [round(p, 3) for p in peaks],
                "exponent_of_time": round(
                    exponent(sizes, [s - fixed for s in took]), 3
                ),
                "exponent_with_all": round(exponent(sizes, took), 3),
                "exponent_of_memory": round(exponent(sizes, bytes_), 3),
            }
        )
        print({k: v for k, v in results[-1].items() if "expo" in k or "200" in k})
    _results.save(args.save, {"growth": results})


if __name__ == "__main__":
    main()
