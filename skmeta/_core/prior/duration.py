"""How long a search for the prior will take, before it begins."""

from time import perf_counter

import numpy as np

# A search usually evaluates the evidence this many times, including the folds.
EVALUATIONS = {"intercept": 40, "rich": 100}
# It evaluates the evidence of all tasks this many times more, if the structure is
# chosen on only some of the tasks.
ON_ALL = 30
# Held-out tasks then cost about this many products of P x P matrices for each task.
CALIBRATION = 10
# Fewer multiplications than this take a few seconds at most, and are not timed.
WORTH_TIMING = 1e10
# The machine is timed on products of square matrices of this many rows.
TIMED_ROWS = 400
# A search works on smaller matrices, and reaches this share of their speed.
EFFICIENCY = 0.25


def seconds_of_search(tasks, n_tasks, rich, n_outputs):
    """About how long a fit takes, in seconds; 0 if it is too short to matter.

    Parameters
    ----------
    tasks : GaussianTasks or LaplaceTasks
        The tasks that the structure is chosen on.
    n_tasks : int
        How many tasks it is fitted to in the end.
    rich : bool
        Whether structures are tried in which slopes vary.
    n_outputs : int
        The number of intercepts, which vary in any case.
    """
    further = ON_ALL * (n_tasks / tasks.n_tasks - 1)
    P = tasks.n_coefficients
    n_varying = int(tasks.varying.sum())
    work = EVALUATIONS["intercept"] * tasks.work(n_outputs)
    if rich:
        work += EVALUATIONS["rich"] * tasks.work(n_varying)
    work += further * tasks.work(n_varying if rich else n_outputs)
    work += CALIBRATION * tasks.n_tasks * P**3
    if n_tasks == 1:  # no structure is chosen, and no task is held out
        work = ON_ALL * tasks.work(P)
    return 0.0 if work < WORTH_TIMING else work / _multiplications_per_second()


def _multiplications_per_second():
    matrix = np.ones((TIMED_ROWS, TIMED_ROWS))
    times = []
    for _ in range(4):
        start = perf_counter()
        matrix @ matrix
        times.append(perf_counter() - start)
    return EFFICIENCY * TIMED_ROWS**3 / min(times)
