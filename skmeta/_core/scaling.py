"""Pooled standardisation of X and y, frozen after meta-training."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches

# At most this many numbers are converted to double precision at a time.
BLOCK_CELLS = 2**16
# A column whose mean is this many deviations from zero has hardly any zeros.
FAR = 100.0
# The square of a smaller deviation would lose digits.
SQUARES_VANISH = 1e-100
# A smaller deviation counts as zero. The key is the number of bytes of a number.
AS_GOOD_AS_ZERO = {8: 1e-300, 4: 1e-36}
# Fewer rows than these do not show which values are usual.
FEW_ROWS = 10
# Quartiles are computed on a sample of at most this many rows and this many numbers.
SAMPLE_ROWS = 2000
SAMPLE_CELLS = 2**22
# A value hides the others if the deviation of its column is more than this many times
# the quartile range. For a normal column the ratio is 0.74.
HIDDEN = 30.0


@dataclass(frozen=True)
class Scaling:
    """Centre and scale of the columns of X and of y, in the user's units."""

    x_mean: np.ndarray  # (n_features,)
    x_scale: np.ndarray  # (n_features,)
    y_mean: float = 0.0
    y_scale: float = 1.0

    def transform_X(self, X, *, in_place=False):
        """Standardised copy of X in X's own dtype; a CSR matrix gives `ScaledRows`.

        With ``in_place`` dense rows are overwritten; use it only if no other code needs
        them.
        """
        if sparse.issparse(X):
            return ScaledRows(X, self)
        X = np.subtract(X, self.x_mean.astype(X.dtype), out=X if in_place else None)
        X /= self.x_scale.astype(X.dtype)
        return X

    def transform_y(self, y):
        return (y - self.y_mean) / self.y_scale

    def linear_in_user_units(self, weight, bias):
        """Coefficients (o, d) and intercept (o,) in the user's units.

        ``weight`` (d, o) and ``bias`` (o,) are those on standardised data.
        """
        coef = weight.T * self.y_scale / self.x_scale
        return coef, self.y_mean + self.y_scale * bias - coef @ self.x_mean

    def uncentred(self):
        """The same scales about zero."""
        return replace(self, x_mean=np.zeros_like(self.x_mean), y_mean=0.0)

    def single_suffices(self, far):
        """Whether single precision can distinguish targets up to ``far`` from zero.

        Seven digits are not enough for 1e8 plus or minus 1, nor to reach 1e40.
        """
        return far <= 100.0 * self.y_scale and 1e-30 < self.y_scale < 1e30

    def inverse_y(self, y):
        return y * self.y_scale + self.y_mean


class ScaledRows:
    """Rows of a CSR matrix that are standardised when they are made dense.

    A column minus its mean is not sparse, so the mean is kept separately. The result is
    the same as for dense rows.
    """

    ndim = 2

    def __init__(self, csr, scaling):
        self._csr, self._scaling = csr, scaling

    @property
    def shape(self):
        return self._csr.shape

    @property
    def dtype(self):
        return self._csr.dtype

    def __getitem__(self, rows):
        return ScaledRows(self._csr[rows], self._scaling)

    def toarray(self):
        return self._scaling.transform_X(self._csr.toarray(), in_place=True)

    @property
    def T(self):
        return ScaledColumns(self)

    def __matmul__(self, W):
        """The product with W (n_features, o), without making X dense.

        Only columns far from zero are made dense; they have hardly any zeros. For them
        the difference of two large products would lose digits.
        """
        mean, scale = self._scaling.x_mean, self._scaling.x_scale
        far = self._is_far
        near = np.where(far[:, None], 0.0, W / scale[:, None])
        product = self._csr @ near - mean @ near
        for rows, X in self._far_columns():
            product[rows] += X @ W[far]
        return product

    @property
    def _is_far(self):
        return np.abs(self._scaling.x_mean) > FAR * self._scaling.x_scale

    def _far_columns(self):
        """Slices of rows, each with those of its columns that are far from zero."""
        far = np.flatnonzero(self._is_far)
        if len(far) == 0:
            return
        mean, scale = self._scaling.x_mean[far], self._scaling.x_scale[far]
        for rows in gen_batches(self.shape[0], max(1, BLOCK_CELLS // len(far))):
            yield rows, (self._csr[rows][:, far].toarray() - mean) / scale


class OrderedRows:
    """Rows of a dense X in some order, which are sorted and standardised on request.

    Only the row numbers and the scaling are kept, so that a large X is not in memory
    twice.
    """

    ndim = 2

    def __init__(self, X, order, scaling):
        self._X, self._order, self._scaling = X, order, scaling

    @property
    def shape(self):
        return len(self._order), self._X.shape[1]

    @property
    def dtype(self):
        return self._X.dtype

    def __getitem__(self, rows):
        return OrderedRows(self._X, self._order[rows], self._scaling)

    def toarray(self):
        return self._scaling.transform_X(self._X[self._order], in_place=True)


class ScaledColumns:
    """The transpose of `ScaledRows`, for products."""

    def __init__(self, rows):
        self._rows = rows

    def __matmul__(self, V):
        """The product with V (n_rows, o), computed as in `ScaledRows`."""
        csr, scaling = self._rows._csr, self._rows._scaling
        product = csr.T @ V - np.outer(scaling.x_mean, V.sum(axis=0))
        product /= scaling.x_scale[:, None]
        far = self._rows._is_far
        product[far] = 0.0
        for rows, X in self._rows._far_columns():
            product[far] += X.T @ V[rows]
        return product


def identity_scaling(n_features):
    """The scaling that leaves X and y as they are."""
    return Scaling(np.zeros(n_features), np.ones(n_features))


def fit_scaling(X, y, weight, *, robust_y=False):
    """Centre and scale of all rows together.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_rows, n_features)
    y : ndarray of shape (n_rows,) or None
        None for class labels, which are not scaled.
    weight : ndarray of shape (n_rows,)
    robust_y : bool
        Use median and interquartile range for y instead of mean and standard deviation,
        so that a few outliers do not set the unit.
    """
    x_mean, deviation = _column_moments(X, weight)
    # The scale of a constant column is its size. So another number in this column is
    # equally far away in any unit.
    size = np.abs(x_mean)
    size = np.where(size > AS_GOOD_AS_ZERO[X.dtype.itemsize], size, 1.0)
    x_scale = np.where(deviation > 0, deviation, size)
    if y is None:
        return Scaling(x_mean, x_scale)
    centre = _median_and_quartiles if robust_y else _mean_and_deviation
    return Scaling(x_mean, x_scale, *centre(y, weight))


def _column_moments(X, weight):
    weight = weight / weight.max()  # the sum of large weights could overflow
    mean = _weighted_mean(X, weight, 0.0, 1.0, power=1)
    # Two passes: X - mean is formed first, since the difference of large squares
    # loses small spreads about a large mean.
    deviation = np.sqrt(_weighted_mean(X, weight, mean, 1.0, power=2))
    if (deviation < SQUARES_VANISH).any():
        unit = np.maximum(_extremes(X, "max") - mean, mean - _extremes(X, "min"))
        unit = np.where((deviation < SQUARES_VANISH) & (unit > 0), unit, 1.0)
        deviation = unit * np.sqrt(_weighted_mean(X, weight, mean, unit, power=2))
    constant = is_constant(mean, deviation, X.shape[0], X.dtype)
    if constant.any():  # so that the scaled column is exactly zero, without rounding
        mean = np.where(constant, _extremes(X, "max"), mean)
    return mean, np.where(constant, 0.0, deviation)


def _weighted_mean(X, weight, centre, unit, power):
    """Mean over rows of ((X - centre) / unit) ** power, a block of rows at a time."""
    n_rows, n_features = X.shape
    total, centre = np.zeros(n_features), np.broadcast_to(centre, n_features)
    unit = np.broadcast_to(unit, n_features)
    if sparse.issparse(X):
        return _mean_of_csr(X, weight, centre, unit, power)
    for block in gen_batches(n_rows, max(1, BLOCK_CELLS // max(1, n_features))):
        part = X[block] - centre
        part /= unit
        total += weight[block] @ (part if power == 1 else np.square(part, out=part))
    return total / weight.sum()


def _mean_of_csr(X, weight, centre, unit, power):
    """The same mean for a CSR matrix without duplicates: stored numbers and zeros."""
    (n_rows, n_features), numbers = X.shape, np.diff(X.indptr)
    total, stored, n_stored = np.zeros((3, n_features))
    step = max(1, BLOCK_CELLS * n_rows // max(1, int(X.indptr[-1]) + n_features))
    for block in gen_batches(n_rows, step):
        some = slice(X.indptr[block.start], X.indptr[block.stop])
        columns, w = X.indices[some], np.repeat(weight[block], numbers[block])
        values = (X.data[some].astype(np.float64) - centre[columns]) / unit[columns]
        for sums, terms in ((total, w * values**power), (stored, w), (n_stored, None)):
            sums += np.bincount(columns, terms, minlength=n_features)
    # The weight of the zeros is exactly 0 if no number is zero. A mean far from zero
    # would magnify a rounding error.
    zeros = np.where(n_stored < n_rows, np.maximum(weight.sum() - stored, 0.0), 0.0)
    return (total + zeros * (-centre / unit) ** power) / weight.sum()


def _mean_and_deviation(y, weight):
    mean, deviation = _column_moments(y[:, None], weight)
    return float(mean[0]), float(deviation[0]) or 1.0


def _median_and_quartiles(y, weight):
    order = np.argsort(y)
    level = np.cumsum(weight[order]) / weight.sum()
    low, median, high = (
        float(y[order][np.searchsorted(level, q)]) for q in (0.25, 0.5, 0.75)
    )
    if high <= low:  # half of all targets are equal, so the quartile range is zero
        return median, _mean_and_deviation(y, weight)[1]
    return median, (high - low) / 1.349  # 1.349 is the range of a unit normal


def is_constant(mean, deviation, n_rows, dtype):
    """Whether a column varies only by rounding."""
    # Rounding of the sums, which are in double precision, and of the numbers
    # themselves.
    relative = max(n_rows * np.finfo(np.float64).eps, np.finfo(dtype).eps)
    rounding = np.maximum(relative * np.abs(mean), AS_GOOD_AS_ZERO[dtype.itemsize])
    return deviation <= rounding


# -- values so large that all others look the same ------------------------------------


class FarValue(NamedTuple):
    """A value so large that all others of its column look the same."""

    column: int
    row: int
    value: float
    low: float  # low and high are the quartiles of the column
    high: float


def farthest(X, scaling):
    """The column whose farthest value is most deviations away, and this distance."""
    above = _extremes(X, "max") - scaling.x_mean
    below = scaling.x_mean - _extremes(X, "min")
    distance = np.maximum(above, below) / scaling.x_scale
    column = int(distance.argmax())
    return column, float(distance[column])


def far_values(X):
    """The farthest value of each column whose deviation comes from a few rows.

    A column is scaled by its deviation. If that is many times the range of its middle
    half, all values of the middle half become nearly one number. In some columns half
    of the values or more are equal, such as a rare category or counts that are mostly
    zero. They have no such range and are not reported.

    Parameters
    ----------
    X : ndarray or CSR matrix of shape (n_rows, n_features)

    Returns
    -------
    far : list of FarValue
        The worst first.
    """
    n, d = X.shape
    if n < FEW_ROWS:
        return []
    columns = np.arange(d)
    if sparse.issparse(X):
        columns = np.flatnonzero(np.bincount(X.indices, minlength=d) > n // 2)
    if len(columns) == 0:
        return []
    n_sample = min(n, SAMPLE_ROWS, max(FEW_ROWS, SAMPLE_CELLS // len(columns)))
    rows = np.arange(n)
    if n_sample < n:  # the sample is random, since rows may follow a regular pattern
        rows = np.sort(np.random.RandomState(0).permutation(n)[:n_sample])
    some = _of_columns(X[rows], columns)
    low, high = np.quantile(some, [0.25, 0.75], axis=0)
    with np.errstate(over="ignore"):
        middle, size = low / 2 + high / 2, high - low
        largest, smallest = (_extremes(X, name)[columns] for name in ("max", "min"))
        reach = np.maximum(largest - middle, middle - smallest)
        far = np.flatnonzero((size > 0) & (reach > HIDDEN * size) & np.isfinite(reach))
    found = []
    for i in far:
        distance = np.abs(_of_columns(X, columns[[i]])[:, 0] - middle[i])
        deviation = reach[i] * np.sqrt(np.mean((distance / reach[i]) ** 2))
        if deviation > HIDDEN * size[i]:
            row = int(distance.argmax())
            value = float(_of_columns(X[[row]], columns[[i]])[0, 0])
            one = FarValue(int(columns[i]), row, value, float(low[i]), float(high[i]))
            found.append((deviation / size[i], one))
    return [one for _, one in sorted(found, key=lambda pair: -pair[0])]


def _of_columns(X, columns):
    """Some of the columns as a dense array in double precision."""
    X = X[:, columns] if len(columns) < X.shape[1] else X
    return (X.toarray() if sparse.issparse(X) else X).astype(np.float64)


def _extremes(X, name):
    """Largest or smallest value of each column."""
    found = getattr(X, name)(axis=0)
    found = found.toarray() if sparse.issparse(found) else np.asarray(found)
    return found.ravel().astype(np.float64)
