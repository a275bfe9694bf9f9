"""Learn a space from the rows of all tasks: by episodes, or in closed form."""

from dataclasses import replace
from functools import partial

import numpy as np

from skmeta._core.prototypes.discriminant import class_statistics, discriminant
from skmeta._core.prototypes.space import LearnedSpace
from skmeta._core.prototypes.training import (
    best_log_temperature,
    episodic_steps,
    first_parameters,
)
from skmeta._core.prototypes.typicality import distances_of_new_classes

# The temperature where no task has two classes of two rows, to choose it by.
TEMPERATURE = 0.5


def network_space(net, table, classes, settings, rng, after_each=None):
    """The space of a network, learned by episodes, and their losses.

    Parameters
    ----------
    net : Network
    table : TaskTable
    classes : ClassTable
    settings : EpisodeSettings
    rng : Generator
    after_each : callable or None
        Called after each meta-iteration with a function that makes the space of a run
        that ends there, and with the losses so far. It says whether to end the run.

    Returns
    -------
    space : LearnedSpace or None
        None if the parameters are not finite.
    losses : list of float
    """
    start, losses = first_parameters(net, rng), []
    rows = rows_of(table.X, start.dtype)
    steps = episodic_steps(net, start, rows, classes, settings, rng)
    for theta, loss in steps:
        losses.append(loss)
        space = partial(_space_of, net, theta)
        if after_each is not None and after_each(space, losses):
            break
    if not np.isfinite(theta).all():
        return None, losses
    return space(), losses


def _space_of(net, theta):
    return LearnedSpace.of(net, theta[:-1], np.exp(theta[-1]))


def linear_space(table, codes, classes, settings, rng):
    """The linear space in closed form; only its temperature is chosen by episodes.

    ``codes`` (n_rows,) are the numbers of the rows' classes; ``classes`` is a
    `ClassTable`, or None if no task has two classes of two rows.
    """
    rows = rows_of(table.X, np.float64)
    means, within = class_statistics(rows, table.X.shape, codes)
    sizes, first = np.bincount(codes), np.unique(codes, return_index=True)[1]
    task = np.searchsorted(table.starts, first, side="right")
    n_shots = np.mean(settings.support_size)
    net, theta = discriminant(within, means, sizes, task, n_shots)
    temperature = TEMPERATURE
    if classes is not None:
        best = best_log_temperature(net, theta, rows, classes, settings, rng)
        temperature = np.exp(best)
    space = LearnedSpace.of(net, theta, temperature)
    apart = distances_of_new_classes(rows, codes, task, table.X.shape[1], n_shots)
    return replace(space, apart=apart)


def rows_of(X, dtype):
    """A function that returns dense rows of X by their numbers."""

    def rows(index):
        part = X[index]
        part = part.toarray() if hasattr(part, "toarray") else part
        return part.astype(dtype, copy=False)

    return rows
