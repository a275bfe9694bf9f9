"""How long a search for the prior will take, before it begins."""

from time import perf_counter

import numpy as np

EVALUATIONS = {"intercept": 40, "rich": 100}  # of the evidence, with folds, as a rule
ON_ALL = 30  # further ones, if the structure is chosen with some of the tasks only
CALIBRATION = 10  # products of P x P matrices per task, to see how held-out tasks fare
WORTH_TIMING = 1e10  # multiplications, which take a machine some seconds
SIZE = 400  # of the matrices that it is timed with, ...
EFFICIENCY = 0.25  # ... of whose speed the smaller steps of a search reach this share


def seconds_of_search(tasks, n_tasks, rich, n_outputs):
    """About how long a fit takes, in seconds; 0 if that is not worth a thought.

    Parameters
    ----------
    tasks : GaussianTasks or LaplaceTasks
        With which the structure is chosen.
    n_tasks : int
        That it is then fitted to.
    rich : bool
        Whether structures are tried in which slopes vary.
    n_outputs : int
        Intercepts, which vary in any case.
    """
    further = ON_ALL * (n_tasks / tasks.n_tasks - 1)
    P = tasks.n_coefficients
    work = EVALUATIONS["intercept"] * tasks.work(n_outputs)
    if rich:
        work += EVALUATIONS["rich"] * tasks.work(P)
    work += further * tasks.work(P if rich else n_outputs)
    work += CALIBRATION * tasks.n_tasks * P**3
    if n_tasks == 1:  # no structure is chosen, and no task held out
        work = ON_ALL * tasks.work(P)
    return 0.0 if work < WORTH_TIMING else work / _multiplications_per_second()


def _multiplications_per_second():
    matrix = np.ones((SIZE, SIZE))
    times = []
    for _ in range(4):
        start = perf_counter()
        matrix @ matrix
        times.append(perf_counter() - start)
    return EFFICIENCY * SIZE**3 / min(times)
