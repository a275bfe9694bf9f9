"""A network that all tasks share, in plain values that any format can save."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from skmeta._checks.parameters import check_hidden_layer_sizes
from skmeta._core.layout import ParamLayout
from skmeta._core.network import Network


@lru_cache
def _network_of(sizes, layer_norm, activation):
    return Network(ParamLayout(sizes, layer_norm), activation)


@dataclass(frozen=True)
class LearnedNetwork:
    """Architecture and parameters of a network.

    Attributes
    ----------
    sizes : tuple of int
        Units of each layer, those of the input first.
    layer_norm : bool
    activation : str
    theta : ndarray of shape (n_params,)
    """

    sizes: tuple
    layer_norm: bool
    activation: str
    theta: np.ndarray

    @classmethod
    def of(cls, net, theta):
        """That of a `Network` and its parameters."""
        layout = net.layout
        return cls(tuple(layout.sizes), layout.layer_norm, net.activation, theta)

    @property
    def net(self):
        """The `Network`."""
        return _network_of(tuple(self.sizes), self.layer_norm, self.activation)

    def layers(self):
        """Read-only views of the layers' weights and biases."""
        theta = self.theta.view()
        theta.flags.writeable = False  # adapted copies share it
        return self.net.layout.layers(theta)


class SharedNetwork:
    """Public attributes of the `LearnedNetwork` in ``_learned.network``, if any."""

    @property
    def _reads_rows_once(self):
        # a network would ask for the rows in each meta-iteration
        return not check_hidden_layer_sizes(self.hidden_layer_sizes)

    @property
    def _shared_network(self):
        return getattr(getattr(self, "_learned", None), "network", None)

    @property
    def coefs_(self):
        """Weights of each layer of the network, on standardised data."""
        return [layer.weight for layer in self._layers()]

    @property
    def intercepts_(self):
        """Biases of each layer of the network, on standardised data."""
        return [layer.bias for layer in self._layers()]

    def _layers(self):
        if self._shared_network is None:
            raise AttributeError(
                f"This {type(self).__name__} is not fitted yet, or has learned no "
                "features: hidden_layer_sizes=(), or they did not pay."
            )
        return self._shared_network.layers()
