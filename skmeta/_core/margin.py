"""How far a base classifier's log-odds can be believed: a scale for them.

A tree that is grown to single rows says 0 or 1, and is wrong about new tasks in a third
of the cases. Its log-odds, taken at their word, would have to be undone by each task's
correction. So they are multiplied by the scale at which they predict best the labels of
tasks that the base model has not seen, beside an intercept (Platt, 1999).
"""

import numpy as np
from scipy.optimize import minimize

from skmeta._core.network import LOSSES

LARGEST = 2.0  # scale: a base model that is this unsure is left unsure
DEVIATION = 0.25  # a priori, of the scale about 1: where X says the same, 1 is right


def margin_scale(offset, Y, weight, X):
    """The scale, from 0 to `LARGEST`, of out-of-task log-odds or log-probabilities.

    Parameters
    ----------
    offset, Y : ndarray of shape (n_rows, n_outputs)
        Of two classes the log-odds and 0 or 1; else log-probabilities and one column
        per class.
    weight : ndarray of shape (n_rows,)
    X : {ndarray, CSR matrix} of shape (n_rows, n_features)
        Standardised: what the correction can say by itself.
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
