"""How much of their uncertainty predictions average over, by held-out tasks."""

import numpy as np
from scipy.special import softmax

# Shares of the posterior's variance that predictions may average over.
MODERATIONS = (1.0, 0.75, 0.5, 0.25, 0.0)
# Before any task is seen, a share is as probable as this power of it.
FAITH = 4
# A held-out task counts as this many rows, since its rows are not independent.
ROWS_OF_TASK = 4


def moderation(score, shares=MODERATIONS):
    """The share of the posterior's variance to average over, from scores (shares, T).

    ``score`` is the mean log density of the rows of each held-out task. The result is
    the mean of the shares, each weighted by how probable it makes the held-out tasks.
    Before any task is seen, the largest share, which uses the whole posterior, is the
    most probable by far. The best share would not do: with few tasks it would jump
    between 0 and 1.
    """
    with np.errstate(divide="ignore"):
        log_before = FAITH * np.log(shares)
    # in logarithms, since no share that is possible before may fit the tasks well
    probable = softmax(ROWS_OF_TASK * score.sum(axis=1) + log_before)
    return float(np.average(shares, weights=probable))
