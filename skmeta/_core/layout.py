"""One flat parameter vector, or a stack of them, and its views per layer."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np


class Layer(NamedTuple):
    """Views of one layer's parameters; a leading task axis may precede each shape."""

    weight: np.ndarray  # (fan_in, fan_out)
    bias: np.ndarray  # (fan_out,)
    gain: np.ndarray | None  # (fan_out,), only for a normalised hidden layer
    shift: np.ndarray | None  # (fan_out,)


@dataclass(frozen=True)
class ParamLayout:
    """The places of a fully connected network's parameters in one flat vector.

    A layer is one block of ``fan_in + 1`` rows of ``fan_out`` numbers; its last row is
    the bias. With layer normalisation a hidden layer has two more rows, its gain and
    its shift. Everything that treats all parameters alike (descent, averaging,
    interpolation, persistence) works on the flat vector. Only the network looks inside.

    Parameters
    ----------
    sizes : tuple of int
        Units per layer from input to output: ``(n_features, *hidden, n_outputs)``.
    layer_norm : bool
        Whether hidden layers are normalised.
    """

    sizes: tuple
    layer_norm: bool = False

    @cached_property
    def _blocks(self):
        """Slice of the vector, fan-in, fan-out and normalised or not, of each layer."""
        blocks, end = [], 0
        for i, (fan_in, fan_out) in enumerate(pairwise(self.sizes)):
            normed = self.layer_norm and i < self.n_layers - 1
            start, end = end, end + (fan_in + (3 if normed else 1)) * fan_out
            blocks.append((slice(start, end), fan_in, fan_out, normed))
        return blocks

    @property
    def n_layers(self):
        return len(self.sizes) - 1

    @property
    def n_params(self):
        return self._blocks[-1][0].stop

    def layers(self, theta):
        """Views into ``theta``, of shape (..., n_params): one `Layer` per layer."""
        layers = []
        for span, fan_in, fan_out, normed in self._blocks:
            block = theta[..., span].reshape(*theta.shape[:-1], -1, fan_out)
            layers.append(
                Layer(
                    weight=block[..., :fan_in, :],
                    bias=block[..., fan_in, :],
                    gain=block[..., fan_in + 1, :] if normed else None,
                    shift=block[..., fan_in + 2, :] if normed else None,
                )
            )
        return layers

    def blocks(self, theta):
        """Views into ``theta`` (..., P): weights and bias of each layer in one array.

        A view has the shape (..., fan_in + 1, fan_out).
        """
        return [
            theta[..., span].reshape(*theta.shape[:-1], -1, fan_out)[
                ..., : fan_in + 1, :
            ]
            for span, fan_in, fan_out, _ in self._blocks
        ]

    def groups(self):
        """Group number of each parameter: two groups per layer, weights and offsets.

        In adapting, weights and offsets move on different scales. So a rate that is
        shared "per layer" is shared within each of the two groups.
        """
        theta = np.zeros(self.n_params, dtype=np.intp)
        for i, layer in enumerate(self.layers(theta)):
            layer.weight[...] = 2 * i
            for offset in (layer.bias, layer.gain, layer.shift):
                if offset is not None:
                    offset[...] = 2 * i + 1
        return theta

    def init(self, rng, dtype=np.float64, *, standardized=True):
        """Draw initial parameters, shape (n_params,).

        A linear model starts at zero. If inputs are standardised, hidden layers follow
        He et al. (2015), and the biases of the first layer are drawn from U(-1, 1),
        which spreads the units' kinks over the data. For inputs of unknown scale
        everything is drawn from U(-1 / sqrt(fan_in), 1 / sqrt(fan_in)), as in the
        Reptile authors' demo.
        """
        theta = np.zeros(self.n_params)
        if self.n_layers == 1:
            return theta.astype(dtype)
        for i, (fan_in, layer) in enumerate(
            zip(self.sizes, self.layers(theta), strict=False)
        ):
            if standardized:
                last = i == self.n_layers - 1
                scale = np.sqrt((1.0 if last else 2.0) / fan_in)
                layer.weight[...] = rng.normal(scale=scale, size=layer.weight.shape)
                bound = 1.0 if i == 0 else 0.0
            else:
                bound = 1.0 / np.sqrt(fan_in)
                layer.weight[...] = rng.uniform(-bound, bound, layer.weight.shape)
            layer.bias[...] = rng.uniform(-bound, bound, layer.bias.shape)
            if layer.gain is not None:
                layer.gain[...] = 1.0
        return theta.astype(dtype)
