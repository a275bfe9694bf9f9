"""A learned space, and the sums over the rows of each class in it."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from skmeta._core.layout import ParamLayout
from skmeta._core.network import Network, predict
from skmeta._core.tasks import slices

# Embedding holds about this many numbers of the network at a time.
EMBED_CELLS = 2**22


@lru_cache
def _network_of(sizes, layer_norm, activation):
    return Network(ParamLayout(sizes, layer_norm), activation)


@dataclass(frozen=True)
class LearnedSpace:
    """A network in whose outputs rows of a class lie close together, in plain values.

    Attributes
    ----------
    sizes : tuple of int
        Units of each layer, those of the input first.
    layer_norm : bool
    activation : str
    theta : ndarray of shape (n_params,)
    temperature : float
        Squared distances are multiplied by this number.
    start : ClassSums or None
        The classes to predict before adapting, if there was only one task.
    apart : ndarray or None
        `distances_of_new_classes`, of a linear space.
    """

    sizes: tuple
    layer_norm: bool
    activation: str
    theta: np.ndarray
    temperature: float
    start: object = None
    apart: np.ndarray | None = None

    @classmethod
    def of(cls, net, theta, temperature):
        """The space of a `Network` with these parameters."""
        layout, temperature = net.layout, float(temperature)
        sizes = tuple(layout.sizes)
        return cls(sizes, layout.layer_norm, net.activation, theta, temperature)

    def starting_from(self, labels, X, codes, weight):
        """The same space, with the classes of these standardised rows to start from."""
        start = ClassSums.empty(self.sizes[-1]).among(labels)
        return replace(self, start=start.plus(self.embedded(X, codes, weight)))

    @property
    def net(self):
        return _network_of(tuple(self.sizes), self.layer_norm, self.activation)

    def layers(self):
        """Read-only weights and biases of each layer."""
        theta = self.theta.view()
        theta.flags.writeable = False  # adapted copies share it
        return self.net.layout.layers(theta)

    @property
    def block(self):
        """Rows to embed at a time."""
        return max(1, EMBED_CELLS // sum(self.sizes))

    def embed(self, X):
        """Standardised rows in the space, in the precision of X."""
        X = X.toarray() if hasattr(X, "toarray") else X
        theta = self.theta.astype(X.dtype)
        return predict(self.net, theta[None], X[None])[0]

    def embedded(self, X, codes, weight):
        """Blocks of (codes, rows in the space, weights) of standardised rows."""
        for rows in slices(X.shape[0], self.block):
            yield codes[rows], self.embed(X[rows]), weight[rows]


def squared_distances(Z, means):
    """Squared distances (n, n_classes) of rows in the space from class means."""
    squares = (Z**2).sum(axis=1)[:, None] + (means**2).sum(axis=1)
    return squares - 2 * Z @ means.T


@dataclass(frozen=True)
class ClassSums:
    """Sums over the rows of each class in the learned space.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
    sums : ndarray of shape (n_classes, n_dimensions)
    counts : ndarray of shape (n_classes,)
        The sum of the rows' weights.
    """

    classes: np.ndarray
    sums: np.ndarray
    counts: np.ndarray

    @classmethod
    def empty(cls, n_dimensions):
        """No class yet."""
        return cls(np.zeros(0), np.zeros((0, n_dimensions)), np.zeros(0))

    def among(self, labels):
        """The same sums, with empty sums for the other ``labels``."""
        sums = np.zeros((len(labels), self.sums.shape[1]))
        counts = np.zeros(len(labels))
        if len(self.classes):
            old = np.searchsorted(labels, self.classes)
            sums[old], counts[old] = self.sums, self.counts
        return ClassSums(labels, sums, counts)

    def plus(self, blocks):
        """The sums with more rows, in blocks (positions of classes, rows, weights)."""
        sums, counts = self.sums.copy(), self.counts.copy()
        for codes, Z, weight in blocks:
            np.add.at(sums, codes, Z * weight[:, None])
            np.add.at(counts, codes, weight)
        return ClassSums(self.classes, sums, counts)

    @property
    def means(self):
        return self.sums / self.counts[:, None]
