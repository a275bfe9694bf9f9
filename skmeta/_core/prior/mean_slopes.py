"""How large the slopes of the mean are, of classes that have many of them.

Of C classes and p columns the mean has C p slopes, which may be as many as tasks can
tell. They are drawn to zero by a normal prior, whose deviation makes the tasks most
probable: the number of slopes that the rows determine, times its square, is the sum of
their squares (MacKay, 1992).
"""

from dataclasses import replace

import numpy as np

from skmeta._core.prior.fit import first_fit, fit_prior
from skmeta._core.prior.structures import Diagonal, groups, place

# The deviation is computed anew so often, or until it moves by less than a hundredth.
MAX_ROUNDS = 6
LEAST_MOVE = 0.01
# A search for the prior is rough meanwhile.
TOL = 1e-2
MAX_ITER = 50
# The deviation of all slopes of a class together is at least this, ...
SMALLEST = 1e-2
# ... and at most this, which Gelman et al. (2008) recommend for a few slopes.
LARGEST = 5.0


def with_slopes_deviation(tasks, shape, units=None):
    """The tasks, with a likelihood whose ``slopes_deviation`` is learned from them.

    Intercepts differ between tasks meanwhile, or slopes if there is no intercept.
    """
    _, _, fit_intercept = shape
    kind = "intercept" if fit_intercept else "isotropic"
    given, tasks = tasks, tasks.whole()
    structure = place(Diagonal(groups(kind, *shape)), tasks, units)
    prior = first_fit(tasks, structure, tol=TOL, max_iter=MAX_ITER, polish=False)
    for _ in range(MAX_ROUNDS):
        before = tasks.likelihood.slopes_deviation
        after = tasks.slopes_deviation(prior.mean, prior.mean_covariance)
        after = float(np.clip(after, SMALLEST, LARGEST))
        tasks = _with(tasks, after)
        if abs(np.log(after / before)) < LEAST_MOVE:
            break
        prior = fit_prior(
            tasks,
            structure,
            prior.numbers,
            prior.mean,
            tol=TOL,
            max_iter=MAX_ITER,
            polish=False,
        )
    return _with(given, tasks.likelihood.slopes_deviation)


def _with(tasks, deviation):
    likelihood = replace(tasks.likelihood, slopes_deviation=deviation)
    return replace(tasks, likelihood=likelihood)
