"""Signs of trouble: columns of uneven size, and losses above that of a constant."""

import numpy as np
from scipy import sparse
from scipy.special import logit

from skmeta._core.network import LOSSES

# Descent on raw data copes with columns and targets whose size is between 1 / this
# and this.
UNEVEN_SIZE = 10.0
# Meta-training has failed if it ends with a loss of this many times that of a constant.
FAILED_LOSS = 3.0
# A shorter run may end with a high loss, if the loss was still falling.
SHORT_RUN = 50
# Adapting may raise the loss of the rows given by this fraction of a constant's loss.
ALLOWED_RISE = 0.1


def constant_loss(network, table):
    """Mean loss of the best constant output over all rows, or about that.

    The constant is zero for a model without an intercept.

    It is the larger of the weighted mean and the plain one, since a draw of a single
    row is as likely to meet a light row as a heavy one.
    """
    share = table.weight / table.weight.max()
    share = share / share.sum()
    if table.n_classes is not None:  # labels mean nothing across tasks
        return float(share @ np.log(np.repeat(table.n_classes, table.sizes)))
    mean = share @ table.Y
    if not network.intercept:
        output = np.zeros(table.Y.shape[1])
    elif network.loss == "softmax_log_loss":
        output = np.log(np.maximum(mean, np.finfo(float).tiny))
    elif network.loss == "log_loss":
        output = logit(np.clip(mean, 1e-12, 1.0 - 1e-12))
    else:
        output = mean
    value, _ = LOSSES[network.loss](np.broadcast_to(output, table.Y.shape), table.Y)
    return float(max(share @ value, value.mean()))


def training_failed(loss_curve, constant, safe):
    """The loss at the end of meta-training if it is far above a constant's; else None.

    ``constant`` is `constant_loss`, which is 0 where all targets are alike.
    """
    loss = np.mean(loss_curve[-max(1, len(loss_curve) // 10) :])
    on_its_way = len(loss_curve) < SHORT_RUN and loss <= loss_curve[0]
    failed = loss > FAILED_LOSS * max(constant, 0.5 * safe) and not on_its_way
    return loss if failed else None


def raised(before, after, constant):
    """Numbers of the tasks whose loss (T,) adapting has raised from before to after."""
    allowed = ALLOWED_RISE * np.maximum(before, constant)
    right = after <= before + allowed  # False for a loss that is not a number
    return np.flatnonzero(~right)


def uneven_columns(X):
    """Numbers of the columns whose size is far from 1, and the size of each column."""
    sizes, largest = column_sizes(X)
    small = (largest < 1.0 / UNEVEN_SIZE) & (largest > 0.0)
    return np.flatnonzero((sizes > UNEVEN_SIZE) | small), sizes


def is_even(Y):
    """Whether the size of the targets is about 1, or all of them are 0."""
    size = root_mean_square(Y)
    return size == 0.0 or 1.0 / UNEVEN_SIZE < size < UNEVEN_SIZE


def root_mean_square(Y):
    return float(np.sqrt(np.mean(Y**2)))


def column_sizes(X):
    """Root mean square of each column of X, and its largest absolute value."""
    if sparse.issparse(X):
        square = np.bincount(X.indices, X.data.astype(float) ** 2, X.shape[1])
        largest = abs(X).max(axis=0).toarray().ravel()
    else:
        square = np.einsum("nd,nd->d", X, X, dtype=np.float64)
        largest = np.maximum(X.max(axis=0), -X.min(axis=0))
    return np.sqrt(square / X.shape[0]), largest
