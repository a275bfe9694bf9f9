"""Tasks that are drawn at random, or from a set with many classes."""

from numbers import Integral

import numpy as np
from sklearn.utils import _safe_indexing, check_random_state, column_or_1d
from sklearn.utils.validation import check_consistent_length


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
        Whether targets are numbers or the labels 0 and 1.
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


def make_episodes(
    X,
    y,
    n_tasks=100,
    *,
    n_way=5,
    n_shots=5,
    n_queries=15,
    test_size=None,
    random_state=None,
):
    """Make N-way K-shot tasks from one labelled set with many classes.

    A task has some of the classes, drawn at random, and some rows of each. This is the
    protocol of Vinyals et al. (2016).

    Parameters
    ----------
    X : {array-like, sparse matrix, DataFrame} of shape (n_samples, n_features)
        Rows.
    y : array-like of shape (n_samples,)
        Their labels, which the tasks keep.
    n_tasks : int or tuple (int, int), default=100
        Number of tasks. With ``test_size`` it may be a pair, for training and test.
    n_way : int, default=5
        Number of classes of a task.
    n_shots : int, default=5
        Number of rows of each class for ``adapt``.
    n_queries : int, default=15
        Number of rows of each class to predict.
    test_size : int or float, default=None
        Number or fraction of the classes that are kept for the test. No class is in
        both parts.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    tasks : list of (X, y)
        The first ``n_way * n_shots`` rows of a task are the rows for ``adapt``,
        ``n_shots`` of each class in random order. The rows to predict follow. With
        ``test_size`` two such lists are returned, for training and test.

    References
    ----------
    O. Vinyals, C. Blundell, T. Lillicrap, K. Kavukcuoglu, D. Wierstra, "Matching
    Networks for One Shot Learning", NeurIPS 2016.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skmeta.datasets import make_episodes
    >>> X, y = load_digits(return_X_y=True)
    >>> train, test = make_episodes(
    ...     X, y, (200, 50), n_way=3, n_shots=2, test_size=4, random_state=0
    ... )
    >>> X_task, y_task = test[0]
    >>> X_given, y_given = X_task[:6], y_task[:6]
    >>> X_task.shape
    (51, 64)
    """
    check_consistent_length(X, y)
    y = column_or_1d(y)
    for name, value, least in (
        ("n_way", n_way, 2),
        ("n_shots", n_shots, 1),
        ("n_queries", n_queries, 0),
    ):
        if not isinstance(value, Integral) or value < least:
            raise ValueError(
                f"{name} must be a whole number of at least {least}; got {value!r}."
            )
    rng = check_random_state(random_state)
    classes, codes = np.unique(y, return_inverse=True)
    rows = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes)))
    n_rows = n_shots + n_queries
    for label, own in zip(classes, rows[:-1], strict=True):
        if len(own) < n_rows:
            raise ValueError(
                f"Class {label!s} has {len(own)} rows; a task takes {n_rows} of each: "
                f"n_shots={n_shots} and n_queries={n_queries}. Lower them, or leave "
                "such classes out."
            )
    parts, n_tasks = _parts_of_classes(len(classes), n_tasks, test_size, rng)
    tasks = []
    for part, n in zip(parts, n_tasks, strict=True):
        if len(part) < n_way:
            raise ValueError(
                f"n_way={n_way} classes per task need as many to draw from; there are "
                f"{len(part)}{'' if test_size is None else ' in one part'}. Lower "
                "n_way, or change test_size."
            )
        tasks.append(
            [_episode(X, y, rows, part, n_way, n_shots, n_rows, rng) for _ in range(n)]
        )
    return tasks[0] if test_size is None else tuple(tasks)


def _parts_of_classes(n_classes, n_tasks, test_size, rng):
    """The class numbers of each part, and its number of tasks."""
    pair = np.ndim(n_tasks) == 1
    counts = tuple(n_tasks) if pair else (n_tasks,) * (1 if test_size is None else 2)
    if not all(isinstance(n, Integral) and n >= 1 for n in counts) or (
        pair and (test_size is None or len(counts) != 2)
    ):
        raise ValueError(
            "n_tasks must be a number of tasks, or with test_size a pair of them; got "
            f"{n_tasks!r} with test_size={test_size!r}."
        )
    order = rng.permutation(n_classes)
    if test_size is None:
        return [order], counts
    whole = isinstance(test_size, Integral)
    n_test = test_size if whole else round(test_size * n_classes)
    if not 0 < n_test < n_classes:
        raise ValueError(
            f"test_size={test_size!r} of {n_classes} classes leaves none for training "
            "or for the test. Give a fraction between 0 and 1, or a number of classes."
        )
    return [order[n_test:], order[:n_test]], counts


def _episode(X, y, rows, part, n_way, n_shots, n_rows, rng):
    drawn = np.array(
        [
            rng.choice(rows[c], n_rows, replace=False)
            for c in rng.choice(part, n_way, replace=False)
        ]
    )
    given, asked = drawn[:, :n_shots].ravel(), drawn[:, n_shots:].ravel()
    index = np.concatenate([rng.permutation(given), rng.permutation(asked)])
    return _safe_indexing(X, index), y[index]


def split_tasks(tasks, *sizes, random_state=None):
    """Split tasks at random into disjoint parts, such as train and test.

    Parameters
    ----------
    tasks : list or dict
        Tasks as for ``meta_fit``; a dict gives dicts.
    *sizes : int or float
        Size of each part except the last, which gets the rest. A size is a number or a
        fraction of the tasks.
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

    Here are three parts; the last one gets the rest:

    >>> parts = split_tasks(make_linear_tasks(10), 0.6, 0.2, random_state=0)
    >>> [len(part) for part in parts]
    [6, 2, 2]
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
