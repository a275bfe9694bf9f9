"""Tasks to try things on."""

import numpy as np
from sklearn.utils import check_random_state

__all__ = ["make_linear_tasks", "make_sinusoid_tasks", "split_tasks"]


def make_sinusoid_tasks(
    n_tasks=100,
    n_samples=10,
    *,
    amplitude=(0.1, 5.0),
    phase=(0.0, np.pi),
    frequency=(1.0, 1.0),
    x_range=(-5.0, 5.0),
    noise=0.0,
    random_state=None,
):
    r"""Make sine waves, each with its own amplitude and phase.

    :math:`y = a \sin(f x + b) + \varepsilon`, the standard first test of few-shot
    regression (Finn et al., 2017). ``phase=(0, 2 * np.pi)`` is the family of the
    Reptile paper (Nichol et al., 2018), ``frequency=(0.8, 1.2)`` that of Meta-SGD (Li
    et al., 2017).

    Parameters
    ----------
    n_tasks : int, default=100
        Number of tasks.
    n_samples : int, default=10
        Rows per task.
    amplitude, phase, frequency, x_range : tuple (low, high)
        Ranges of the uniform distributions of :math:`a`, :math:`b`, :math:`f`,
        :math:`x`.
    noise : float, default=0.0
        Standard deviation of the normal noise on y.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    tasks : list of (X, y)
        X of shape (n_samples, 1), y of shape (n_samples,).

    References
    ----------
    C. Finn, P. Abbeel, S. Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of
    Deep Networks", ICML 2017.

    Examples
    --------
    >>> from skmeta.datasets import make_sinusoid_tasks
    >>> X, y = make_sinusoid_tasks(3, random_state=0)[0]
    >>> X.shape, y.shape
    ((10, 1), (10,))
    """
    rng = check_random_state(random_state)
    a, b, f = (
        rng.uniform(*bounds, size=(n_tasks, 1))
        for bounds in (amplitude, phase, frequency)
    )
    x = rng.uniform(*x_range, size=(n_tasks, n_samples))
    y = a * np.sin(f * x + b) + noise * rng.standard_normal(x.shape)
    return [(rows[:, None], targets) for rows, targets in zip(x, y, strict=True)]


def make_linear_tasks(
    n_tasks=100,
    n_samples=20,
    n_features=5,
    *,
    kind="regression",
    spread=0.5,
    noise=0.1,
    random_state=None,
):
    r"""Make linear tasks whose coefficients vary about common ones.

    Task t has :math:`w_t \sim N(w, \mathrm{diag}(s^2))` and
    :math:`y = X w_t + \varepsilon`; labels are 1 with probability
    :math:`1 / (1 + e^{-X w_t})`.

    Parameters
    ----------
    n_tasks : int, default=100
        Number of tasks.
    n_samples : int, default=20
        Rows per task.
    n_features : int, default=5
        Number of features, each standard normal.
    kind : {"regression", "classification"}, default="regression"
        Numbers or labels 0 and 1.
    spread : float or array-like of shape (n_features,), default=0.5
        Standard deviation :math:`s` of the coefficients between tasks.
    noise : float, default=0.1
        Standard deviation of the noise on y (regression).
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    tasks : list of (X, y)
        X of shape (n_samples, n_features), y of shape (n_samples,).

    Examples
    --------
    >>> from skmeta.datasets import make_linear_tasks
    >>> tasks = make_linear_tasks(3, n_samples=8, random_state=0)
    >>> [X.shape for X, y in tasks]
    [(8, 5), (8, 5), (8, 5)]
    """
    if kind not in ("regression", "classification"):
        raise ValueError(
            f"kind must be 'regression' or 'classification'; got {kind!r}."
        )
    rng = check_random_state(random_state)
    common = rng.standard_normal(n_features)
    w = common + np.asarray(spread) * rng.standard_normal((n_tasks, n_features))
    X = rng.standard_normal((n_tasks, n_samples, n_features))
    margin = (X @ w[..., None])[..., 0]
    if kind == "regression":
        y = margin + noise * rng.standard_normal(margin.shape)
    else:
        y = (rng.random_sample(margin.shape) < 1 / (1 + np.exp(-margin))).astype(int)
    return list(zip(X, y, strict=True))


def split_tasks(tasks, *sizes, random_state=None):
    """Split tasks at random into disjoint parts, such as train and test.

    Parameters
    ----------
    tasks : list or dict
        Tasks as for ``meta_fit``; a dict gives dicts.
    *sizes : int or float
        Size of each part but the last, which gets the rest: a number of tasks, or a
        fraction of them.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    parts : list
        ``len(sizes) + 1`` lists or dicts without a task in common.

    Examples
    --------
    >>> from skmeta.datasets import make_linear_tasks, split_tasks
    >>> train, test = split_tasks(make_linear_tasks(10), 0.8, random_state=0)
    >>> len(train), len(test)
    (8, 2)
    """
    items = list(tasks.items()) if hasattr(tasks, "items") else list(tasks)
    counts = [
        n if isinstance(n, (int, np.integer)) else round(n * len(items)) for n in sizes
    ]
    if min(counts, default=0) < 1 or sum(counts) >= len(items):
        raise ValueError(
            f"Sizes {sizes} of {len(items)} tasks make parts of {counts} and leave "
            f"{len(items) - sum(counts)} for the last. Every part needs a task."
        )
    order = check_random_state(random_state).permutation(len(items))
    parts = np.split(order, np.cumsum(counts))
    kind = dict if hasattr(tasks, "items") else list
    return [kind(items[i] for i in np.sort(part)) for part in parts]
