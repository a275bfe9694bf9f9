"""How fast is meta-training, and adapting, through the public API?

    python benchmarks/speed.py [--works NAME ...] [--rounds 5] [--save results.json]
    python benchmarks/speed.py --guard

Contenders are what one would write in other frameworks (`_contenders.py`); those whose
framework is not installed are left out. All begin with the same parameters and see the
same tasks and rows; after three meta-iterations the parameters of each are compared
with those of skmeta. Figures are microseconds of CPU time per unit, in single precision
on one core that the process is bound to, and the least of several rounds in which the
contenders take turns. A unit is an inner step of one task, or one task where a job
adapts to tasks. Conversion of data, imports and compilation are not counted, and
neither is what `fit` of skmeta does only once (a few milliseconds).

``--guard`` compares skmeta with plain NumPy only, and fails if the ratio falls below a
generous floor, so that nobody makes the core slower without noticing.
"""

# ruff: noqa: E402 (the number of threads is set before NumPy is imported)

import argparse
import os
import platform
import sys
import time
from dataclasses import dataclass, replace

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"
if hasattr(os, "sched_setaffinity"):  # Frameworks count cores when imported.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import _contenders
import _machine
import _results
import numpy as np
from scipy.linalg import get_blas_funcs
from sklearn.utils import check_random_state

import skmeta
from skmeta import ReptileClassifier, ReptileRegressor
from skmeta._core.descent.plan import workspace
from skmeta._core.descent.reptile import draw_episode
from skmeta._core.tasks import TaskTable
from skmeta._task_input import canonical, read_training_rows

# One measurement takes at least so many seconds of CPU.
BURST = 0.25
# The parameters of all contenders are compared after so many meta-iterations.
CHECKED = 3
# What differs by more than rounding in single precision is not the same work.
DIFFERENT = 1e-4


@dataclass(frozen=True)
class Job:
    """One thing to do: the network, the tasks, and how many at a time."""

    name: str
    title: str
    sizes: tuple
    activation: str = "tanh"
    loss: str = "squared_error"
    solver: str = "sgd"
    inner_steps: int = 10
    meta_batch: int = 5
    n_tasks: int = 200
    rows: tuple = (10, 10)  # The least and the largest number of rows of a task.
    minibatch: int | None = None
    queries: int = 0  # Rows to predict after adapting; 0 to meta-train instead.
    guard: float | None = None  # The ratio to plain NumPy must be at least this.

    @property
    def work(self):
        return _contenders.Work(
            self.sizes,
            self.activation,
            self.loss,
            self.solver,
            1e-3 if self.solver == "adam" else 0.02,
            self.inner_steps,
            "float32",
            meta_step=0.5,
        )

    @property
    def units(self):
        """Units of one meta-iteration, or of one pass over the new tasks."""
        if self.queries:
            return self.meta_batch
        return self.meta_batch * self.inner_steps


SINE = {"sizes": (1, 64, 64, 1), "inner_steps": 32}
WIDE = {
    "sizes": (784, 256, 128, 64, 5),
    "activation": "relu",
    "loss": "softmax_log_loss",
    "n_tasks": 40,
    "rows": (50, 50),
    "minibatch": 10,
}
LINEAR = {"sizes": (20, 1), "n_tasks": 1000, "meta_batch": 1000, "rows": (20, 20)}
TABLE = {"sizes": (30, 32, 32, 1), "activation": "relu"}
JOBS = [
    Job("sine-1", "sinusoid 64-64, meta-batch 1", meta_batch=1, **SINE),
    Job("sine-5", "sinusoid 64-64, meta-batch 5", guard=2.9, **SINE),
    Job("sine-25", "sinusoid 64-64, meta-batch 25", meta_batch=25, guard=3.7, **SINE),
    Job("sine-adam", "sinusoid 64-64, meta-batch 5, Adam", solver="adam", **SINE),
    Job("wide-5", "784-256-128-64-5, 5 inner steps", **WIDE | {"inner_steps": 5},
        guard=1.6),
    Job("wide-12", "784-256-128-64-5, 12 inner steps", **WIDE | {"inner_steps": 12}),
    Job("linear", "linear, 20 features, 1,000 tasks each iteration", **LINEAR,
        guard=300.0),
    Job("logistic", "logistic, 20 features, 1,000 tasks each iteration", **LINEAR,
        loss="log_loss", guard=25.0),
    Job("ragged-32", "30-32-32-1, tasks of 5 to 50 rows, meta-batch 32", **TABLE,
        meta_batch=32, n_tasks=400, rows=(5, 50), guard=2.3),
    Job("one-task", "30-32-32-1, one new task: adapt to 10 rows, predict 100", **TABLE,
        meta_batch=1, queries=100, guard=1.0),
    Job("many-tasks", "30-32-32-1, 10,000 new tasks at once, the same", **TABLE,
        meta_batch=10_000, n_tasks=10_000, queries=100, guard=3.6),
]  # fmt: skip


def make_tasks(job):
    """Rows of random tasks, reproducible."""
    rng = np.random.default_rng(0)
    d, n_outputs = job.sizes[0], job.sizes[-1]
    X, Y = [], []
    for _ in range(job.n_tasks):
        n = rng.integers(*job.rows, endpoint=True)
        x = rng.normal(size=(n, d)).astype(np.float32)
        if job.loss == "softmax_log_loss":
            y = np.eye(n_outputs)[np.arange(n) % n_outputs]
        elif job.loss == "log_loss":
            y = (x[:, :1] + rng.normal(size=(n, 1)) > 0).astype(float)
        elif d == 1:
            y = np.sin(x * 3 + rng.uniform(0, 3)) * rng.uniform(0.1, 5)
        else:
            y = x @ rng.normal(size=(d, 1)) + rng.normal(size=(n, 1))
        X.append(x)
        Y.append(y.astype(np.float32))
    return _contenders.Tasks(X, Y)


# -- skmeta, as a user calls it -------------------------------------------------------


class Skmeta:
    """The estimators, with everything off that the contenders do not have.

    ``tasks`` are in the order in which `fit` numbers them and their rows.
    """

    name = "skmeta"

    def __init__(self, job, tasks):
        self.job = job
        regression = job.loss == "squared_error"
        self.kind = ReptileRegressor if regression else ReptileClassifier
        self._take(np.concatenate(tasks.X), np.concatenate(tasks.Y), tasks)
        model = self.model(1)
        rows = read_training_rows(model, self.X, self.y, None, self.task, reset=True)
        order, starts, _ = canonical(rows, model._make_targets().order_key)
        X, Y = self.X[order], np.concatenate(tasks.Y)[order]
        parts = (np.split(part, starts[1:-1]) for part in (X, Y))
        self.tasks = _contenders.Tasks(*parts)
        self._take(X, Y, self.tasks)

    def _take(self, X, Y, tasks):
        numbers = self.kind is ReptileRegressor
        self.X, y = X, Y[:, 0] if Y.shape[1] == 1 else Y.argmax(axis=1)
        self.y = y if numbers else y.astype(int)
        self.task = np.repeat(np.arange(self.job.n_tasks), [len(x) for x in tasks.X])

    def model(self, max_iter):
        job, work = self.job, self.job.work
        return self.kind(
            job.sizes[1:-1],
            activation=job.activation,
            solver=job.solver,
            learning_rate=work.learning_rate,
            learn_rates=None,
            inner_steps=job.inner_steps,
            batch_size=job.minibatch,
            support_size=None,
            alpha=0.0,
            meta_step=work.meta_step,
            meta_batch_size=job.meta_batch,
            max_iter=max_iter,
            adapt_steps=job.inner_steps,
            standardize=False,
            random_state=0,
        )

    def fit(self, max_iter):
        return self.model(max_iter).fit(self.X, self.y, task=self.task)

    def draws(self, n):
        """Start and schedule of the first n meta-iterations of `fit`, as it draws."""
        job, model = self.job, self.fit(1)
        net, _, settings = model._to_adapt_with()
        seed = check_random_state(0).randint(np.iinfo(np.int32).max)
        rng = np.random.default_rng(seed)
        start = net.layout.init(rng, np.float32, standardized=False)
        sizes = np.bincount(self.task)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        table = TaskTable(self.X, np.zeros((len(self.X), 1)), np.ones(1), starts)
        settings = replace(settings, meta_batch_size=job.meta_batch)
        episodes = [draw_episode(rng, table, settings) for _ in range(n)]
        return start, [(episode.tasks, episode.minibatches) for episode in episodes]


def in_time(function, *arguments):
    started = time.process_time()
    function(*arguments)
    return time.process_time() - started


def repeats(function):
    """The number of calls that make a burst."""
    n, seconds = 1, in_time(function, 1)
    while seconds < BURST and n < 10**5:
        n = min(10 * n, max(n + 1, int(1.2 * n * BURST / max(seconds, 1e-4))))
        seconds = in_time(function, n)
    return n


def training(job, tasks, contenders):
    """Name -> function(n) that runs n meta-iterations; and how far results differ."""
    ours = Skmeta(job, tasks)
    start, schedule = ours.draws(200 if job.meta_batch < 1000 else CHECKED)
    expected = ours.fit(CHECKED)._learned.start
    runs, apart = {"skmeta": ours.fit}, {}
    for kind in contenders:
        if not kind.fits(job.work):
            continue
        contender = kind(job.work, ours.tasks, schedule)
        theta = contender.run(start, 0, CHECKED, CHECKED)
        apart[kind.name] = float(np.abs(theta - expected).max())

        def run(n, contender=contender):
            while n > 0:
                some = min(n, len(schedule))
                contender.run(start, 0, some, some)
                n -= some

        runs[kind.name] = run
    return runs, apart


def adapting(job, tasks, contenders):
    """The same where tasks are adapted to."""
    ours = Skmeta(job, tasks)
    model, rng = ours.fit(1), np.random.default_rng(1)
    d, m = job.sizes[0], job.queries
    queries = rng.normal(size=(job.meta_batch, m, d)).astype(np.float32)
    chosen = np.arange(job.meta_batch)
    n = len(ours.tasks.X[0])
    X, y = ours.X[: n * len(chosen)], ours.y[: n * len(chosen)]
    if job.meta_batch == 1:

        def predict():
            return model.adapt(X, y).predict(queries[0])

    else:
        flat, task_new = queries.reshape(-1, d), np.repeat(chosen, m)
        options = {"task": ours.task[: len(X)], "task_new": task_new}

        def predict():
            return model.adapt_predict(X, y, flat, **options)

    def repeat(function):
        return lambda n: [function() for _ in range(n)] and None

    expected = predict().reshape(job.meta_batch, m, 1)
    runs, apart = {"skmeta": repeat(predict)}, {}
    for kind in contenders:
        if job.meta_batch == 1 and "batch" in kind.name:
            continue  # A single task makes no batch.
        contender = kind(job.work, ours.tasks, [(chosen, None)])
        contender.prepare_queries(list(queries))
        answer = contender.adapt_predict(model._learned.start)
        apart[kind.name] = float(np.median(np.abs(answer - expected)))
        runs[kind.name] = repeat(
            lambda contender=contender: contender.adapt_predict(model._learned.start)
        )
    return runs, apart


def measure(job, contenders, rounds):
    """Microseconds per unit of each contender, and how far results are apart."""
    tasks = make_tasks(job)
    runs, apart = (adapting if job.queries else training)(job, tasks, contenders)
    counts = {name: repeats(run) for name, run in runs.items()}
    least = dict.fromkeys(runs, np.inf)
    once = np.inf  # The seconds of what a fit does only once.
    for _ in range(rounds):
        for name, run in runs.items():
            least[name] = min(least[name], in_time(run, counts[name]))
        if not job.queries:
            once = min(once, in_time(runs["skmeta"], 1))
    if not job.queries:
        least["skmeta"] -= once
        counts["skmeta"] -= 1
    micro = {name: 1e6 * least[name] / counts[name] / job.units for name in runs}
    return micro, apart


# -- where the time goes --------------------------------------------------------------


def profile(job):
    """Microseconds per unit of the kinds of operation, and of what is around them.

    Each call of a step is repeated by itself on data in the cache. What the same
    function takes on arrays of one number is the overhead of the call, and the rest is
    that of its kind. The sum of the kinds is the kernel floor: what a step costs if
    nothing but arithmetic did.
    """
    if job.queries or job.name.startswith(("wide", "linear")):
        return None
    model = Skmeta(job, make_tasks(job)).fit(1)
    net = model._learned.network
    n_rows = job.minibatch or int(np.mean(job.rows))
    n_tasks = min(job.meta_batch, 25)
    plan = workspace(net, np.float32).plan(n_tasks, n_rows)
    rng = np.random.default_rng(0)
    plan.theta[...] = 0.1 * rng.normal(size=plan.theta.shape)
    plan.rows[...] = rng.normal(size=plan.rows.shape)
    plan.load_targets(*(np.zeros((n_tasks, n_rows, *o)) for o in ((1,), ())))
    plan.descend(2)  # with rows of weight zero, so that nothing grows when repeated
    calls = plan._calls if plan._blas is None else plan._blas.calls
    kinds = {"products": 0.0, "element-wise": 0.0, "update": 0.0, "around": 0.0}
    flops, updates = 0, updates_of(job, plan)
    for function, arguments in [*calls, *updates]:
        kind = "element-wise"
        if function is np.matmul:
            kind = "products"
            flops += 2 * arguments[2].size * arguments[0].shape[-1]
        elif "gemm" in getattr(function, "__name__", ""):
            kind = "products"
            of_sum = arguments[1].shape[1 if not arguments[5] else 0]
            flops += 2 * arguments[4].size * of_sum
        elif any(function is f and arguments is a for f, a in updates):
            kind = "update"
        around = alone(function, [tiny(argument) for argument in arguments])
        kinds[kind] += alone(function, arguments) - around
        kinds["around"] += around
    per_unit = {kind: round(1e6 * s / n_tasks, 3) for kind, s in kinds.items()}
    per_unit["calls"] = len(calls) + len(updates)
    peak = 2 * 512**3 / alone(np.matmul, np.ones((3, 512, 512), np.float32), 3)
    per_unit["at the peak of products"] = round(1e6 * flops / n_tasks / peak, 3)
    return per_unit


def tiny(argument):
    """An array of one number in the place of an array."""
    if not isinstance(argument, np.ndarray) or argument.ndim == 0:
        return argument
    return np.ones((1,) * min(argument.ndim, 2), np.float32)


def updates_of(job, plan):
    """The calls with which a step changes the parameters, beyond the products."""
    if job.solver == "adam":
        G, root, moment = (np.ones_like(plan.theta) for _ in range(3))
        axpy, eps = get_blas_funcs("axpy", dtype=np.float32), np.full((), 1e-8, "f4")
        return [
            (np.multiply, (G, G, root)),
            (np.add, (moment, root, root)),
            (np.sqrt, (moment, root)),
            (np.add, (moment, eps, root)),
            (np.divide, (G, moment, root)),
            (axpy, (root.reshape(-1), moment.reshape(-1))),
        ]
    if plan._blas is not None:
        return []
    return [(np.subtract, (plan.theta, plan.G, plan.theta))]


def alone(function, arguments, n=300):
    """Seconds of CPU that one call takes, the least of several bursts."""

    def burst():
        for _ in range(n):
            function(*arguments)

    return min(in_time(burst) for _ in range(7)) / n


# -- the report -----------------------------------------------------------------------


def smaller(job):
    """The job for the guard: fewer new tasks show the same ratio."""
    if not job.queries:
        return job
    fewer = min(job.n_tasks, 1000)
    return replace(job, n_tasks=fewer, meta_batch=min(job.meta_batch, fewer))


def machine():
    import sklearn

    versions = {"numpy": np.__version__, "scikit-learn": sklearn.__version__}
    for name in ("torch", "jax"):
        if name in sys.modules:
            versions[name] = sys.modules[name].__version__
    return {
        "processor": _machine.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "skmeta": skmeta.__version__,
        **versions,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = [job.name for job in JOBS]
    parser.add_argument("--works", nargs="+", choices=names, default=names)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", help="file for the results, as JSON")
    parser.add_argument("--guard", action="store_true", help="fail if skmeta is slow")
    args = parser.parse_args()

    jobs = [job for job in JOBS if job.name in args.works]
    contenders = _contenders.available()
    if args.guard:
        jobs = [smaller(job) for job in jobs if job.guard is not None]
        contenders = [_contenders.NumpyLoop]
    results, slow = [], []
    for job in jobs:
        micro, apart = measure(job, contenders, args.rounds)
        print(f"\n{job.name}: {job.title}")
        for name, us in sorted(micro.items(), key=lambda item: item[1]):
            line = f"  {name:24}{us:12.3f} us{us / micro['skmeta']:10.2f} x"
            print(line + (f"   differs by {apart[name]:.0e}" if name in apart else ""))
        result = {"job": job.name, "title": job.title, "units": job.units}
        result |= {"us_per_unit": micro, "differs_by": apart}
        if not args.guard:
            result["profile"] = profile(job)
            print("  ", result["profile"] or "", flush=True)
        results.append(result)
        ratio = micro["NumPy, plain"] / micro["skmeta"]
        if args.guard and ratio < job.guard:
            slow.append(f"{job.name}: {ratio:.1f} x plain NumPy, floor {job.guard}")
        if args.guard and max(apart.values()) > DIFFERENT:
            slow.append(f"{job.name}: it did something else than plain NumPy: {apart}")
    _results.save(args.save, {"machine": machine(), "results": results})
    if slow:
        sys.exit("Slower than it should be, or not the same:\n" + "\n".join(slow))


if __name__ == "__main__":
    main()
