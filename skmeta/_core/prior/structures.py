"""Structures that the spread between tasks may have: from free numbers to its factor.

The spread is the covariance Sigma = L L' of the tasks' coefficients about their mean.
Each structure writes L in terms of a vector of free numbers. The gradient of any
evidence with respect to L has the form D L, with D symmetric and the same for all
structures, so a structure only has to carry that back to its own numbers.

A deviation is sinh of its number, in units of the noise: it is linear in the number
where it is below the noise, and exponential above. So the evidence is about as curved
everywhere. If the number were the logarithm of the deviation, the evidence would have
no slope near a deviation of zero.

`Placed` puts a structure into other coordinates and units: a search refers to the
user's units or to standardised ones, and measures deviations by the smallest one that
the rows of one task could tell from zero. It also places the coefficients that vary
among those that all tasks share.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular

# Group of a coefficient that is the same in all tasks.
NONE = -1
# Bounds of the number of a deviation, which is then at most 3e7 times the noise. Larger
# ones are beyond the precision of the arithmetic.
BOUNDS = (-18.0, 18.0)
# Bounds of the entries of C in a full factor.
RATIO_BOUNDS = (-1e2, 1e2)
# Bounds of the entries of the logarithm of a covariance between classes.
LOG_BOUNDS = (-9.0, 9.0)
# A column whose entries are smaller than this, once standardised, is constant.
ROUNDING = 1e-12
# A search starts from deviations between these two. At zero the evidence has no slope.
SMALLEST = 0.1
LARGEST = np.sinh(0.99 * BOUNDS[1])


class Structure(ABC):
    """The spread of P coefficients as a function of free numbers.

    Attributes
    ----------
    n_numbers : int
    bounds : list of (float, float)
        Of each number. The number of a deviation has the bounds ``BOUNDS``.
    """

    @property
    @abstractmethod
    def n_numbers(self):
        """How many numbers there are."""

    @property
    def bounds(self):
        return [BOUNDS] * self.n_numbers

    @property
    def signless(self):
        """Which numbers are deviations whose sign does not matter, (n_numbers,)."""
        return np.array([bound == BOUNDS for bound in self.bounds], dtype=bool)

    @abstractmethod
    def factor(self, numbers):
        """The factor L (P, r) of the spread."""

    @abstractmethod
    def gradient(self, numbers, D):
        """Gradient in the numbers, given that in L as D L, with D (P, P)."""

    def penalty(self, numbers):
        """What is added to the log evidence, and its gradient."""
        return 0.0, np.zeros_like(numbers)

    @abstractmethod
    def start(self, covariance, D, boldness=1.0):
        """Numbers near a covariance (P, P) that a simpler structure found.

        ``D`` (P, P) says what more spread the evidence asks for there. With
        ``boldness=0`` the numbers give that covariance itself, as far as they can.
        """

    def in_common(self, told):
        """A task's information on each coefficient (P,), averaged over each group."""
        return told


def _start_deviations(covariance, boldness):
    deviations = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return np.clip(deviations, boldness * SMALLEST, LARGEST)


@dataclass(frozen=True)
class Diagonal(Structure):
    """Independent spreads; the coefficients of a group share one."""

    groups: np.ndarray  # (P,) of int, NONE where nothing varies

    @property
    def n_numbers(self):
        return int(self.groups.max(initial=NONE)) + 1

    @cached_property
    def _varying(self):
        """The coefficients that vary, and their groups."""
        varying = np.flatnonzero(self.groups != NONE)
        return varying, self.groups[varying]

    def factor(self, numbers):
        varying, groups = self._varying
        L = np.zeros((len(self.groups), len(varying)))
        L[varying, np.arange(len(varying))] = np.sinh(numbers[groups])
        return L

    def gradient(self, numbers, D):
        varying, groups = self._varying
        slope = np.diag(D)[varying] * np.sinh(numbers[groups])
        return np.cosh(numbers) * np.bincount(groups, slope, self.n_numbers)

    def start(self, covariance, D, boldness=1.0):
        varying, groups = self._varying
        variances = _start_deviations(covariance, boldness)[varying] ** 2
        means = np.bincount(groups, variances) / np.bincount(groups)
        return np.arcsinh(np.sqrt(means))

    def in_common(self, told):
        varying, groups = self._varying
        of_group = np.bincount(groups, told[varying]) / np.bincount(groups)
        common = told.copy()
        common[varying] = of_group[groups]
        return common


@dataclass(frozen=True)
class LowRank(Structure):
    """A few directions in which coefficients vary together, plus a diagonal."""

    n_coefficients: int
    rank: int

    @property
    def n_numbers(self):
        return self.n_coefficients * (self.rank + 1)

    @property
    def signless(self):
        return np.arange(self.n_numbers) >= self.n_coefficients * self.rank

    def _split(self, numbers):
        loadings, own = np.split(numbers, [self.n_coefficients * self.rank])
        return loadings.reshape(self.n_coefficients, self.rank), own

    def factor(self, numbers):
        loadings, own = self._split(np.sinh(numbers))
        return np.hstack([loadings, np.diag(own)])

    def gradient(self, numbers, D):
        loadings, own = self._split(np.sinh(numbers))
        slope = np.concatenate([(D @ loadings).ravel(), np.diag(D) * own])
        return np.cosh(numbers) * slope

    def start(self, covariance, D, boldness=1.0):
        # the evidence asks for more spread along the leading eigenvectors of D, in
        # units of the deviations
        deviations = _start_deviations(covariance, boldness)
        share = min(boldness, 1.0) / 2  # a share of the variance
        _, vectors = np.linalg.eigh(deviations[:, None] * D * deviations)
        loadings = deviations[:, None] * vectors[:, ::-1][:, : self.rank]
        loadings, own = np.sqrt(share) * loadings, np.sqrt(1 - share) * deviations
        return np.arcsinh(np.concatenate([loadings.ravel(), own]))


@dataclass(frozen=True)
class Full(Structure):
    """Any covariance, with correlations drawn towards zero.

    L = diag(s) C with C unit lower triangular. ``shrinkage`` counts tasks: the penalty
    is the log-likelihood of so many further tasks without any correlation, whatever
    the deviations: -shrinkage / 2 (log det R + tr R^-1), with R the correlation matrix.
    """

    n_coefficients: int
    shrinkage: float = 0.0

    @property
    def n_numbers(self):
        return self.n_coefficients * (self.n_coefficients + 1) // 2

    @property
    def bounds(self):
        below = self.n_numbers - self.n_coefficients
        return [BOUNDS] * self.n_coefficients + [RATIO_BOUNDS] * below

    @cached_property
    def _below(self):
        return np.tril_indices(self.n_coefficients, -1)

    def _split(self, numbers):
        own, below = np.split(numbers, [self.n_coefficients])
        C = np.eye(self.n_coefficients)
        C[self._below] = below
        return own, C

    def factor(self, numbers):
        own, C = self._split(numbers)
        return np.sinh(own)[:, None] * C

    def gradient(self, numbers, D):
        own, C = self._split(numbers)
        G = D @ (np.sinh(own)[:, None] * C)
        below = (np.sinh(own)[:, None] * G)[self._below]
        return np.concatenate([np.cosh(own) * (G * C).sum(axis=1), below])

    def penalty(self, numbers):
        """The value and its gradient; R depends on C alone, not on the deviations."""
        _, C = self._split(numbers)
        inverse = solve_triangular(C, np.eye(len(C)), lower=True)
        precision = inverse.T @ inverse
        variance = (C * C).sum(axis=1)
        trace = np.diag(precision) @ variance - self.n_coefficients
        value = -0.5 * self.shrinkage * (trace - np.log(variance).sum())
        D = precision - precision * variance @ precision
        D += np.diag(np.diag(precision) - 1 / variance)
        below = -self.shrinkage * (D @ C)[self._below]
        return value, np.concatenate([np.zeros(self.n_coefficients), below])

    def start(self, covariance, D, boldness=1.0):
        own = np.arcsinh(_start_deviations(covariance, boldness))
        return np.concatenate([own, np.zeros(len(self._below[0]))])


@dataclass(frozen=True)
class Kronecker(Structure):
    """Spread of a column times spread of the classes, for coefficients (o, d).

    The coefficients of column j have the covariance s_j^2 A over the classes, with A of
    determinant 1: the same one for all slopes, and another one for the intercepts.
    ``shrinkage`` counts tasks: the penalty is the log-likelihood of so many further
    tasks whose classes are alike, -shrinkage / 2 (tr A^-1 - o).

    The numbers are those of the s_j, followed for each A by the entries of S, with
    A = exp(S - tr S / o) by the matrix exponential. No class is a reference, and a
    search takes the same steps in whatever order the classes are.
    """

    n_outputs: int
    columns: np.ndarray  # (c,) the columns that vary, the slopes before the intercept
    n_columns: int  # d
    fit_intercept: bool
    shrinkage: float

    @cached_property
    def _of_classes(self):
        """Which A each column that varies has, (c,)."""
        kinds = np.zeros(len(self.columns), dtype=int)
        if self.fit_intercept and len(kinds) > 1:
            kinds[-1] = 1
        return kinds

    @property
    def _n_of_classes(self):
        """How many numbers an A has."""
        return self.n_outputs * (self.n_outputs + 1) // 2

    @property
    def n_numbers(self):
        return len(self.columns) + (self._of_classes.max() + 1) * self._n_of_classes

    @property
    def bounds(self):
        of_classes = self.n_numbers - len(self.columns)
        return [BOUNDS] * len(self.columns) + [LOG_BOUNDS] * of_classes

    @cached_property
    def _above(self):
        return np.triu_indices(self.n_outputs, 1)

    def _split(self, numbers):
        """The numbers of the columns; eigenvalues and eigenvectors of each S."""
        of_columns, rest = np.split(numbers, [len(self.columns)])
        found = []
        for part in rest.reshape(-1, self._n_of_classes):
            own, above = np.split(part, [self.n_outputs])
            S = np.diag(own - own.mean())
            # so that a step has the length of the change in S
            S[self._above] = S.T[self._above] = above / np.sqrt(2)
            found.append(np.linalg.eigh(S))
        return of_columns, found

    def _in_numbers(self, slope):
        """The gradient in the numbers of an S, given that in S itself, symmetric."""
        own = np.diag(slope)
        return np.concatenate([own - own.mean(), np.sqrt(2) * slope[self._above]])

    def factor(self, numbers):
        of_columns, found = self._split(numbers)
        o, c = self.n_outputs, len(self.columns)
        roots = [(Q * np.exp(0.5 * values)) @ Q.T for values, Q in found]
        L = np.zeros((o, self.n_columns, c, o))
        each = zip(self.columns, np.sinh(of_columns), self._of_classes, strict=True)
        for place, (column, deviation, kind) in enumerate(each):
            L[:, column, place] = deviation * roots[kind]
        return L.reshape(o * self.n_columns, c * o)

    def gradient(self, numbers, D):
        of_columns, found = self._split(numbers)
        o, deviations = self.n_outputs, np.sinh(of_columns)
        D = D.reshape(o, self.n_columns, o, self.n_columns)
        D = D[:, self.columns, :, self.columns]  # (c, o, o)
        slope, of_classes = np.empty_like(of_columns), []
        for kind, (values, Q) in enumerate(found):
            mine = self._of_classes == kind
            A = (Q * np.exp(values)) @ Q.T
            slope[mine] = deviations[mine] * (D[mine] * A).sum(axis=(1, 2))
            of_A = 0.5 * np.tensordot(deviations[mine] ** 2, D[mine], axes=1)
            inner = Q.T @ of_A @ Q * _differences_of_exp(values)
            of_classes.append(self._in_numbers(Q @ inner @ Q.T))
        return np.concatenate([np.cosh(of_columns) * slope, *of_classes])

    def penalty(self, numbers):
        of_columns, found = self._split(numbers)
        value, slopes = 0.0, [np.zeros_like(of_columns)]
        for values, Q in found:
            inverse = (Q * np.exp(-values)) @ Q.T
            value -= 0.5 * self.shrinkage * (np.trace(inverse) - self.n_outputs)
            slopes.append(self._in_numbers(0.5 * self.shrinkage * inverse))
        return value, np.concatenate(slopes)

    def start(self, covariance, D, boldness=1.0):
        variances = _start_deviations(covariance, boldness) ** 2
        variances = variances.reshape(self.n_outputs, self.n_columns)[:, self.columns]
        numbers = np.zeros(self.n_numbers)
        numbers[: len(self.columns)] = np.arcsinh(np.sqrt(variances.mean(axis=0)))
        return numbers

    def in_common(self, told):
        of_columns = told.reshape(self.n_outputs, -1).mean(axis=0)
        return np.tile(of_columns, self.n_outputs)


def _differences_of_exp(values):
    """Divided differences of exp at each two of some numbers; its slope where equal."""
    apart = 0.5 * (values[:, None] - values)
    middle = np.exp(0.5 * (values[:, None] + values))
    small = np.abs(apart) < 1e-4
    ratio = np.sinh(apart) / np.where(small, 1.0, apart)
    return middle * np.where(small, 1.0 + apart**2 / 6, ratio)


@dataclass(frozen=True)
class Beside(Structure):
    """Learned features share one spread; the spread of the others is known."""

    new: np.ndarray  # (P,) of bool: which coefficients are the features'
    known: np.ndarray  # (P, r) factor of the others' spread

    n_numbers = 1

    def factor(self, numbers):
        columns = np.flatnonzero(self.new)
        L = np.zeros((len(self.new), len(columns)))
        L[columns, np.arange(len(columns))] = np.sinh(numbers[0])
        return np.hstack([L, self.known])

    def gradient(self, numbers, D):
        slope = np.diag(D)[self.new].sum() * np.sinh(numbers)
        return np.cosh(numbers) * slope

    def start(self, covariance, D, boldness=1.0):
        variance = _start_deviations(covariance, boldness)[self.new] ** 2
        return np.arcsinh(np.sqrt(variance.mean(keepdims=True)))


@dataclass(frozen=True)
class Placed(Structure):
    """A structure in other coordinates, among coefficients that all tasks share.

    The coefficients that vary are ``matrix`` times its own.
    """

    inner: Structure
    matrix: np.ndarray  # (V, V)
    varying: np.ndarray  # (P,) of bool: which V of the P coefficients vary

    @property
    def n_varying(self):
        return len(self.matrix)

    @property
    def n_numbers(self):
        return self.inner.n_numbers

    @property
    def bounds(self):
        return self.inner.bounds

    @property
    def signless(self):
        return self.inner.signless

    @property
    def rank(self):
        return self.inner.rank

    def factor(self, numbers):
        of_varying = self.matrix @ self.inner.factor(numbers)
        L = np.zeros((len(self.varying), of_varying.shape[1]))
        L[self.varying] = of_varying
        return L

    def gradient(self, numbers, D):
        return self.inner.gradient(numbers, self._own(D))

    def _own(self, D):
        """A gradient D in the coordinates of the inner structure."""
        return self.matrix.T @ self._among_varying(D) @ self.matrix

    def _among_varying(self, of_all):
        return of_all[np.ix_(self.varying, self.varying)]

    def penalty(self, numbers):
        return self.inner.penalty(numbers)

    def start(self, covariance, D, boldness=1.0):
        half = np.linalg.solve(self.matrix, self._among_varying(covariance))
        inner = np.linalg.solve(self.matrix, half.T)
        return self.inner.start(inner, None if D is None else self._own(D), boldness)


def place(structure, tasks, units=None):
    """A structure in the given units; its numbers are relative to a task's information.

    The structure is one of the coefficients that vary. ``units`` (P, P) turns
    coefficients in the units that it refers to into those of the tasks; None means that
    they are the same. A coefficient that is shared is shared in both.
    """
    P, varying = tasks.n_coefficients, tasks.varying
    units = (np.eye(P) if units is None else units)[:, varying]
    told = structure.in_common(tasks.information(units))
    told = np.where(told > 0, told, told.max(initial=0.0) or 1.0)
    return Placed(structure, units[varying] / np.sqrt(told), varying)


def groups(name, n_features, n_outputs, fit_intercept):
    """Groups of the diagonal structures, for coefficients (outputs, features + 1).

    "intercept" has one spread for the intercepts. "isotropic" has besides one that is
    common to all slopes, "diagonal" one for the slopes of each feature. The features
    are those whose slopes vary. All outputs are alike: see `Kronecker` for others.
    """
    table = np.full((n_outputs, n_features + fit_intercept), NONE)
    n_slopes = {"intercept": 0, "isotropic": 1, "diagonal": n_features}[name]
    n_slopes = min(n_slopes, n_features)
    if n_slopes:
        table[:, :n_features] = np.arange(n_features) % n_slopes
    if fit_intercept:
        table[:, -1] = n_slopes
    return table.ravel()
