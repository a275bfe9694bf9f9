"""A bank of tasks: time and memory of a million of them, writers at once, and crashes.

    OMP_NUM_THREADS=1 python benchmarks/bank.py [--save results.json] [--quick]

Four questions, each answered on made-up tasks of 8 columns:

- million: CPU seconds and bytes per task of a bank of 10^6 tasks that were given 10
  rows each. One row of each is predicted: first, when all states are new, and then
  again three times, when none has changed; by ids that are numbers and by text.
- writers: 8 threads make 10,000 updates each, in memory and on one SQLite file, and so
  do 4 processes on one file. How far are the coefficients from those of one update?
- killed: a process that updates 50 tasks at a time, in a file, is killed 100 times at
  random moments. Of the updates that had returned, how many are lost, and how often is
  a part of an update there?
- sql: a table of coefficients joined to new rows in a database. How far are its scores
  from `predict`?
"""

import argparse
import multiprocessing
import os
import pickle
import resource
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import _results
import numpy as np

from skmeta import EmpiricalBayesRegressor, TaskBank

N_FEATURES = 8


def make_rows(n_tasks, n_rows, seed=0):
    """Rows of linear tasks in random order: X, y, task."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_tasks * n_rows, N_FEATURES))
    task = rng.permutation(np.repeat(np.arange(n_tasks), n_rows))
    slopes = np.arange(N_FEATURES) + rng.normal(size=(n_tasks, N_FEATURES))
    y = np.einsum("nd,nd->n", X, slopes[task]) + rng.normal(size=len(X))
    return X, y, task


def make_model(noise="shared"):
    X, y, task = make_rows(300, 20)
    model = EmpiricalBayesRegressor("diagonal", noise=noise, random_state=0)
    return model.fit(X, y, task=task)


def seconds(call):
    """CPU seconds of a call, and what it returns."""
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def peak():
    """The most memory that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def alone(function, *arguments):
    """Call a function in a process of its own, so that the peak is that of the call."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


# -- a million tasks ------------------------------------------------------------------


def million(n_tasks, noise):
    model, found = make_model(noise), {"tasks": n_tasks, "noise": noise}
    X, y, task = make_rows(n_tasks, 10, seed=1)
    before, bank = peak(), TaskBank(model)
    found["data_mb"] = round((X.nbytes + y.nbytes + task.nbytes) / 1e6)
    found["update_s"], _ = seconds(partial(bank.update, X, y, task=task))
    found["peak_beyond_data_mb"] = round(peak() - before)
    del X, y, task
    rng = np.random.default_rng(2)
    asked, X = rng.permutation(n_tasks), rng.normal(size=(n_tasks, N_FEATURES))
    found["predict_new_states_s"], _ = seconds(lambda: bank.predict(X, task=asked))
    again = [seconds(lambda: bank.predict(X, task=asked))[0] for _ in range(3)]
    found["predict_s"] = again
    row = X[:1], [0.0]
    found["update_of_one_row_ms"] = 10 * sum(
        seconds(lambda: bank.update(*row, task=7))[0] for _ in range(100)
    )
    some = slice(0, n_tasks // 10)
    found["predict_interval_of_a_tenth_s"], _ = seconds(
        lambda: bank.predict_interval(X[some], task=asked[some])
    )
    found["to_frame_s"], _ = seconds(bank.to_frame)
    found["bytes_of_a_state"] = bank._states.codec.width * 8
    found["bytes_per_task_pickled"] = len(pickle.dumps(bank)) / n_tasks
    del bank
    ids = np.char.add("customer-", asked.astype(str))
    bank = TaskBank(model).update(X, np.zeros(n_tasks), task=ids)
    ids = rng.permutation(ids)
    bank.predict(X, task=ids)
    again = [seconds(lambda: bank.predict(X, task=ids))[0] for _ in range(3)]
    found["predict_by_text_s"] = again
    return found


def in_a_file(n_tasks):
    """The same in a SQLite file."""
    model, found = make_model(), {"tasks": n_tasks}
    X, y, task = make_rows(n_tasks, 10, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bank.sqlite")
        with TaskBank(model, path) as bank:
            found["update_s"], _ = seconds(lambda: bank.update(X, y, task=task))
            X, asked = X[:n_tasks], np.random.default_rng(2).permutation(n_tasks)
            found["predict_new_states_s"], _ = seconds(
                lambda: bank.predict(X, task=asked)
            )
            found["predict_s"] = [
                seconds(lambda: bank.predict(X, task=asked))[0] for _ in range(3)
            ]
            found["update_of_one_row_ms"] = 10 * sum(
                seconds(lambda: bank.update(X[:1], y[:1], task=7))[0]
                for _ in range(100)
            )
        found["bytes_per_task"] = path.stat().st_size / n_tasks
    return found


# -- many writers ---------------------------------------------------------------------


def add_one_by_one(bank, X, y, task):
    for i in range(len(y)):
        bank.update(X[i : i + 1], y[i : i + 1], task=task[i : i + 1])


def add_in_process(model, path, rows):
    with TaskBank(model, path) as bank:
        add_one_by_one(bank, *rows)


def writers(kind, where, n_writers, n_updates, n_tasks=100):
    """Largest difference of coefficients to those of one update of all rows."""
    model = make_model()
    rows = make_rows(n_tasks, n_writers * n_updates // n_tasks, seed=3)
    parts = [[part[w::n_writers] for part in rows] for w in range(n_writers)]
    expected = TaskBank(model).update(rows[0], rows[1], task=rows[2]).to_frame()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = None if where == "memory" else Path(folder, "bank.sqlite")
        bank = TaskBank(model, path)
        if kind == "threads":
            all_of_them = [
                threading.Thread(target=add_one_by_one, args=(bank, *part))
                for part in parts
            ]
        else:
            new = multiprocessing.get_context("fork").Process
            all_of_them = [
                new(target=add_in_process, args=(model, path, part)) for part in parts
            ]
        for one in all_of_them:
            one.start()
        for one in all_of_them:
            one.join()
        elapsed = time.perf_counter() - start
        table = bank.to_frame()
        bank.close()
    table, expected = (t.set_index("id").sort_index() for t in (table, expected))
    n_lost = int((expected["n_rows"] - table["n_rows"]).abs().sum())
    off = (table - expected).abs() / expected.abs().clip(lower=1.0)
    return {
        "kind": kind,
        "where": where,
        "writers": n_writers,
        "updates_each": n_updates,
        "updates_lost": n_lost,
        "largest_difference": float(off.to_numpy().max()),
        "wall_ms_per_update": 1e3 * elapsed / (n_writers * n_updates),
    }


# -- killed ---------------------------------------------------------------------------


def update_until_killed(bank, told):
    """Update 50 tasks at a time, and tell each time that the update has returned."""
    step, task = 0, np.arange(50)
    while True:
        X = np.full((50, N_FEATURES), float(step))
        bank.update(X, X[:, 0], task=task)
        told.send(step)
        step += 1


def killed(n_times):
    """A writer is killed at a random moment, and its file is opened again."""
    model, rng = make_model(), np.random.default_rng(4)
    fork = multiprocessing.get_context("fork")
    found = {
        "times": n_times,
        "updates": 0,
        "lost": 0,
        "torn": 0,
        "unknown_but_there": 0,
    }
    for _ in range(n_times):
        with tempfile.TemporaryDirectory() as folder:
            bank = TaskBank(model, Path(folder, "bank.sqlite"))
            get, send = fork.Pipe(duplex=False)
            writer = fork.Process(target=update_until_killed, args=(bank, send))
            writer.start()
            send.close()
            n_told = 1 + get.recv()
            time.sleep(rng.uniform(0, 0.05))
            writer.kill()
            writer.join()
            with suppress(EOFError):
                while True:
                    n_told = 1 + get.recv()
            n_rows = bank.to_frame()["n_rows"].to_numpy()
            whole = len(n_rows) == 50 and n_rows.min() == n_rows.max()
            # the file itself is whole, too: a new connection reads and writes it
            bank.update(np.zeros((1, N_FEATURES)), [0.0], task=0)
            bank.close()
        found["updates"] += n_told
        found["lost"] += max(0, n_told - int(n_rows.min()))
        found["torn"] += int(not whole)
        # killed between writing and telling, which is no fault
        found["unknown_but_there"] += int(n_rows.min() > n_told)
    return found


# -- SQL ------------------------------------------------------------------------------

QUERY = """
SELECT place, intercept + {} AS score
FROM new JOIN bank ON bank.id = new.task ORDER BY place
""".format(" + ".join(f"new.x{j} * bank.x{j}" for j in range(N_FEATURES)))


def sql(n_tasks):
    """Scores from a table in DuckDB, or in SQLite where that is not installed."""
    import pandas

    bank = TaskBank(make_model())
    X, y, task = make_rows(n_tasks, 5, seed=5)
    bank.update(1e4 + 30 * X, y, task=task)
    X, _, task = make_rows(n_tasks, 2, seed=6)
    X = 1e4 + 30 * X
    new = pandas.DataFrame(X, columns=[f"x{j}" for j in range(N_FEATURES)])
    new.insert(0, "task", task)
    new.insert(0, "place", np.arange(len(new)))
    table = bank.to_frame()
    try:
        import duckdb

        with duckdb.connect() as database:
            database.register("new", new)
            database.register("bank", table)
            scores = database.execute(QUERY).df()["score"].to_numpy()
        by = "DuckDB"
    except ImportError:
        import sqlite3

        database = sqlite3.connect(":memory:")
        new.to_sql("new", database)
        table.to_sql("bank", database)
        scores = np.array([row[1] for row in database.execute(QUERY)])
        by = "SQLite"
    predicted = bank.predict(X, task=task)
    off = np.abs(scores - predicted).max() / np.abs(predicted).max()
    return {"by": by, "rows": len(X), "largest_relative_difference": float(off)}


# -- all ------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--save", metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the size")
    parser.add_argument(
        "--only", nargs="*", default=["million", "file", "writers", "killed", "sql"]
    )
    arguments = parser.parse_args()
    n = 100 if arguments.quick else 1
    results = {"cpus": os.cpu_count()}
    runs = {
        "million": lambda: [alone(million, 10**6 // n, x) for x in ("shared", "task")],
        "file": lambda: in_a_file(10**6 // n),
        "writers": lambda: [
            writers("threads", "memory", 8, 10_000 // n),
            writers("threads", "file", 8, 10_000 // n),
            writers("processes", "file", 4, 10_000 // n),
        ],
        "killed": lambda: killed(100 // min(n, 10)),
        "sql": lambda: sql(100_000 // n),
    }
    for name in arguments.only:
        results[name] = runs[name]()
        print(name, results[name], flush=True)
    _results.save(arguments.save, results)


if __name__ == "__main__":
    main()
