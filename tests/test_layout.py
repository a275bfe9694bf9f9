"""One flat parameter vector and its views per layer."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skmeta._core.layout import ParamLayout

PARTS = ("weight", "bias", "gain", "shift")


def views_of(layout, theta):
    """All views, as one list."""
    views = [getattr(layer, p) for layer in layout.layers(theta) for p in PARTS]
    return [view for view in views if view is not None]


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("sizes", [(4, 1), (4, 3, 2), (4, 3, 5, 2)])
def test_views_have_the_shapes_of_their_layers(sizes, layer_norm, leading):
    layout = ParamLayout(sizes, layer_norm)
    layers = layout.layers(np.zeros((*leading, layout.n_params)))

    assert len(layers) == layout.n_layers == len(sizes) - 1
    for i, layer in enumerate(layers):
        fan_in, fan_out = sizes[i : i + 2]
        assert layer.weight.shape == (*leading, fan_in, fan_out)
        assert layer.bias.shape == (*leading, fan_out)
        if layer_norm and i < len(layers) - 1:
            assert layer.gain.shape == layer.shift.shape == (*leading, fan_out)
        else:
            assert layer.gain is None
            assert layer.shift is None


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_writing_through_the_views_changes_each_parameter_exactly_once(
    layer_norm, order
):
    layout = ParamLayout((4, 3, 5, 2), layer_norm)
    theta = np.zeros((2, layout.n_params), order=order)
    for view in views_of(layout, theta):
        view[...] += 1.0
    assert_array_equal(theta, 1.0)


def test_changing_the_flat_vector_changes_the_views():
    layout = ParamLayout((2, 3, 1), layer_norm=True)
    theta = np.zeros(layout.n_params)
    views = views_of(layout, theta)
    theta[...] = np.arange(len(theta))
    assert sorted(np.concatenate([v.ravel() for v in views])) == theta.tolist()


def test_a_stack_has_the_same_views_as_each_of_its_vectors():
    layout = ParamLayout((2, 3, 1), layer_norm=True)
    stack = np.random.default_rng(0).normal(size=(4, layout.n_params))
    views = views_of(layout, stack)
    for t, theta in enumerate(stack):
        for view, expected in zip(views, views_of(layout, theta), strict=True):
            assert_array_equal(view[t], expected)


def test_layer_norm_adds_a_gain_and_a_shift_per_hidden_unit():
    plain, normed = ParamLayout((4, 3, 5, 2)), ParamLayout((4, 3, 5, 2), True)
    assert plain.n_params == (4 + 1) * 3 + (3 + 1) * 5 + (5 + 1) * 2
    assert normed.n_params == plain.n_params + 2 * (3 + 5)


def test_layer_norm_leaves_a_linear_model_as_it_is():
    assert ParamLayout((4, 2), True).n_params == ParamLayout((4, 2)).n_params


@pytest.mark.parametrize("layer_norm", [False, True])
def test_groups_number_weights_and_offsets_of_each_layer_apart(layer_norm):
    layout = ParamLayout((4, 3, 2), layer_norm)
    groups = layout.groups()

    assert groups.shape == (layout.n_params,)
    assert np.issubdtype(groups.dtype, np.integer)
    for i, layer in enumerate(layout.layers(groups)):
        assert_array_equal(layer.weight, 2 * i)
        for offset in (layer.bias, layer.gain, layer.shift):
            if offset is not None:
                assert_array_equal(offset, 2 * i + 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_linear_model_starts_at_zero(dtype):
    theta = ParamLayout((3, 2)).init(np.random.default_rng(0), dtype)
    assert theta.dtype == dtype
    assert_array_equal(theta, np.zeros(8))


def test_initial_hidden_layers_follow_he_and_spread_their_kinks():
    layout = ParamLayout((100, 200, 300, 50), layer_norm=True)
    first, second, last = layout.layers(layout.init(np.random.default_rng(0)))

    assert_allclose(first.weight.std(), np.sqrt(2 / 100), rtol=0.02)
    assert_allclose(second.weight.std(), np.sqrt(2 / 200), rtol=0.02)
    assert_allclose(last.weight.std(), np.sqrt(1 / 300), rtol=0.02)
    for layer in (first, second, last):
        assert_allclose(layer.weight.mean() / layer.weight.std(), 0, atol=0.02)
    assert -1 <= first.bias.min() < -0.9
    assert 0.9 < first.bias.max() <= 1
    for layer in (first, second):
        assert_array_equal(layer.gain, 1)
        assert_array_equal(layer.shift, 0)
    assert_array_equal(second.bias, 0)
    assert_array_equal(last.bias, 0)


def test_single_precision_starts_at_the_same_point_rounded():
    layout = ParamLayout((3, 4, 1))
    double = layout.init(np.random.default_rng(0))
    single = layout.init(np.random.default_rng(0), np.float32)
    assert single.dtype == np.float32
    assert_array_equal(single, double.astype(np.float32))
