"""Parameters whose constraints scikit-learn cannot state."""

from numbers import Integral


def check_hidden_layer_sizes(sizes):
    """The units of each hidden layer as a list of int."""
    hidden = [sizes] if isinstance(sizes, Integral) else list(sizes)
    if not all(isinstance(n, Integral) and n >= 1 for n in hidden):
        raise ValueError(
            "hidden_layer_sizes must be positive whole numbers of units; got "
            f"{sizes!r}."
        )
    return [int(n) for n in hidden]


def check_range(name, value, *, least=1, unit="rows", optional=False):
    """Refuse a pair that is not a range (low, high) of whole numbers >= ``least``."""
    if not isinstance(value, tuple):
        return
    whole = all(isinstance(n, Integral) for n in value)
    if not whole or len(value) != 2 or not least <= value[0] <= value[1]:
        raise ValueError(
            f"{name} must be {'None, ' if optional else ''}a number of {unit}, or a "
            f"range (low, high) with {least} <= low <= high; got {value}."
        )
