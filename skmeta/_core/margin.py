"""A scale for a base classifier's log-odds: how far to trust them.

A tree that is grown to single rows predicts 0 or 1, and may be wrong about new tasks in
a third of the cases. Without a scale, each task's correction would have to undo its
log-odds. So the log-odds are multiplied by a scale. With this scale, and beside a
linear model, they best predict the labels of tasks that the base model has not seen
(Platt, 1999).
"""

import numpy as np
from scipy.optimize import minimize

from skmeta._core.network import LOSSES

# The scale is at most this large, so an unsure base model is never made very sure.
LARGEST = 2.0
# The scale has a prior with mean 1 and this deviation. If X says the same as the base
# model, a scale of 1 is right.
DEVIATION = 0.25


def margin_scale(offset, Y, weight, X):
    """The scale, from 0 to `LARGEST`, of out-of-task log-odds or log-probabilities.

    Parameters
    ----------
    offset, Y : ndarray of shape (n_rows, n_outputs)
        With two classes the log-odds and 0 or 1; otherwise log-probabilities and one
        column per class.
    weight : ndarray of shape (n_rows,)
    X : {ndarray, CSR matrix} of shape (n_rows, n_features)
        Standardised rows, for the linear model.
    """
    o, d = offset.shape[1], X.shape[1]
    name = "log_loss" if o == 1 else "softmax_log_loss"
    if o > 1:
        offset = offset - offset.mean(axis=1, keepdims=True)

    def objective(x):
        coef = x[1:].reshape(d + 1, o)
        loss, slope = LOSSES[name](x[0] * offset + X @ coef[:d] + coef[d], Y)
        slope *= weight[:, None]
        gradient = np.r_[
            (slope * offset).sum(), (X.T @ slope).ravel(), slope.sum(axis=0)
        ]
        apart = precision * (x - start)
        return weight @ loss + 0.5 * apart @ (x - start), gradient + apart

    n_numbers = o * (d + 1)
    start = np.append(1.0, np.zeros(n_numbers))
    precision = np.append(DEVIATION**-2, np.ones(n_numbers))
    bounds = [(0.0, LARGEST)] + [(None, None)] * n_numbers
    return float(minimize(objective, start, jac=True, bounds=bounds).x[0])
