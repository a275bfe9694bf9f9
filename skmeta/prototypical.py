"""Classifier by class means in a learned space (Snell, Swersky & Zemel, 2017)."""

from itertools import pairwise
from numbers import Integral, Real

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import check_random_state, gen_batches
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets

from skmeta._base import (
    BaseMetaLearner,
    ClassificationTargets,
    ClassScores,
    FewShotScoreMixin,
    SharedNetwork,
)
from skmeta._checks.keywords import with_hint_to_task
from skmeta._checks.parameters import check_hidden_layer_sizes, check_range
from skmeta._checks.values import show
from skmeta._core import network, prototypes
from skmeta._core.layout import ParamLayout
from skmeta._core.network import Network
from skmeta._threads import on_one_blas_thread

BLOCK_CELLS = 2**16  # numbers of a table taken at a time in sums over it
PREDICT_CELLS = 2**22  # numbers held at a time in predicting
ROUNDING = 1e-20  # of squares: of rows that differ by less nothing can be learned


class PrototypicalClassifier(
    FewShotScoreMixin,
    ClassScores,
    ClassificationTargets,
    ClassifierMixin,
    SharedNetwork,
    BaseMetaLearner,
):
    r"""Classifier that tells classes apart by their means in a learned space.

    Meta-training learns a space in which rows of a class lie close together, whatever
    the class: a linear one in closed form, or that of a small network. Adapting takes
    the mean of each class's rows there, so that classes may be new, be of any number,
    and come at any time.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=()
        Units of each hidden layer of the network. ``()`` is no network: a linear space
        in closed form, from the covariances of rows within classes and of class means.
    n_components : int, default=64
        Dimensions of a network's space: units of its last layer, which is linear. Not
        used without hidden layers.
    activation : {"relu", "tanh"}, default="relu"
        Of the hidden layers.
    layer_norm : bool, default=True
        Whether hidden layers are normalised over their units (Ba et al., 2016).
    n_way : int or tuple (low, high), default=(5, 20)
        Classes in an episode of the meta-training: a number, or a range to draw the
        number from; at most those that a task has. More than there will be to tell
        apart later is good practice.
    support_size : int or tuple (low, high), default=(1, 5)
        Rows of each class to take means of: a number, or a range to draw it from. A
        class that has fewer gives all but one.
    n_queries : int, default=5
        Rows of each class to be told, at most.
    learning_rate : float, default=3e-3
        Rate of Adam: constant for half of the run, then falling linearly to 0.
    meta_batch_size : int, default=4
        Episodes per meta-iteration.
    max_iter : int, default=1000
        Meta-iterations.
    standardize : bool, default=True
        Whether X is standardised inside, by mean and deviation of all meta-training
        rows, so that units do not matter. A sparse X gives the model of a
        dense one, and stays sparse.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial parameters and of the episodes.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels of the task adapted to. After fit without task ids, those of y; after
        fit on several tasks there are none.
    prototypes_ : ndarray of shape (n_classes, n_dimensions)
        The class means in the learned space.
    temperature_ : float
        What squared distances are multiplied by.
    coefs_, intercepts_ : list of ndarray
        Weights (fan_in, fan_out) and biases (fan_out,) of each layer, on standardised
        data.
    n_tasks_ : int
        Tasks seen in meta-training.
    n_iter_ : int
        Meta-iterations run; 1 without hidden layers.
    loss_curve_ : list of float
        Only with hidden layers: log-loss of the episodes, per meta-iteration.
    n_adapt_rows_ : int
        Rows that the model is adapted to.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, where fit has seen names.

    See Also
    --------
    ReptileClassifier : Own classes by a start learned for descent.
    EmpiricalBayesClassifier : Tasks that share their classes.
    skmeta.datasets.make_episodes : Tasks from one set with many classes.

    Notes
    -----
    With :math:`z(x)` the learned space, :math:`c_k` the mean of the rows of class
    :math:`k` and :math:`\tau` a learned temperature,

    .. math:: p(k \mid x) \propto \exp(-\tau \, |z(x) - c_k|^2).

    An episode draws classes of one task, takes the means of some rows of each, and is
    scored by the log-loss of others; its gradient passes through both. With task ids a
    class is a label within a task. Without ids all rows are one task: a single set with
    many classes, some of which are drawn for each episode.

    Without hidden layers z whitens the covariance within classes, and then weighs each
    direction by :math:`v / (v + 1/K)`, v being the variance of class means there and K
    the mean of ``support_size``: where classes hardly differ, means of a few rows say
    nothing (probabilistic linear discriminant analysis). Both covariances are shrunk by
    the rule of Ledoit and Wolf. Only the temperature is chosen by episodes. Where no
    class has two rows that differ, z is the standardised X; where no task has two
    classes of two rows, the temperature is 1/2.

    :meth:`adapt` begins a new task, with the classes of its rows alone.
    :meth:`partial_adapt` goes on from the present classes and may bring others. Only
    sums are kept of the rows, so portions and their order make no difference, and
    ``sample_weight`` weighs rows in the means. Meta-training takes all rows alike.

    Columns up to some hundreds are meant. For more, and for sparse ones, put
    :class:`~sklearn.decomposition.PCA` or :class:`~sklearn.decomposition.TruncatedSVD`
    in front.

    References
    ----------
    J. Snell, K. Swersky, R. Zemel, "Prototypical Networks for Few-shot Learning",
    NeurIPS 2017.

    S. Ioffe, "Probabilistic Linear Discriminant Analysis", ECCV 2006.

    O. Ledoit, M. Wolf, "A Well-Conditioned Estimator for Large-Dimensional Covariance
    Matrices", Journal of Multivariate Analysis 88(2), 2004.

    Examples
    --------
    Learn from six digits how digits differ, then tell four others apart:

    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skmeta import PrototypicalClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> seen = np.isin(y, [0, 1, 2, 3, 4, 5])
    >>> model = PrototypicalClassifier(random_state=0).fit(X[seen], y[seen])
    >>> X_new, y_new = X[~seen], y[~seen]
    >>> adapted = model.adapt(X_new[:20], y_new[:20])
    >>> adapted.classes_
    array([6, 7, 8, 9])
    >>> adapted.score(X_new[20:], y_new[20:]) > 0.8
    True
    """

    _parameter_constraints: dict = {
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"relu", "tanh"})],
        "layer_norm": ["boolean"],
        "n_way": [Interval(Integral, 2, None, closed="left"), tuple],
        "support_size": [Interval(Integral, 1, None, closed="left"), tuple],
        "n_queries": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "meta_batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "standardize": ["boolean"],
        "random_state": ["random_state"],
    }

    _dtype = np.dtype(np.float64)  # of predictions; networks learn in float32
    _n_way = np.inf  # there may be any number of classes

    def __init__(
        self,
        hidden_layer_sizes=(),
        *,
        n_components=64,
        activation="relu",
        layer_norm=True,
        n_way=(5, 20),
        support_size=(1, 5),
        n_queries=5,
        learning_rate=3e-3,
        meta_batch_size=4,
        max_iter=1000,
        standardize=True,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_components = n_components
        self.activation = activation
        self.layer_norm = layer_norm
        self.n_way = n_way
        self.support_size = support_size
        self.n_queries = n_queries
        self.learning_rate = learning_rate
        self.meta_batch_size = meta_batch_size
        self.max_iter = max_iter
        self.standardize = standardize
        self.random_state = random_state

    @with_hint_to_task
    def fit(self, X, y, *, task=None):
        """Meta-train on the rows of all tasks.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows of all tasks, in any order.
        y : array-like of shape (n_samples,)
            Labels. With task ids a label means something within its task only.
        task : array-like of shape (n_samples,), default=None
            Which task each row belongs to. Without ids all rows are one task, and the
            model is an ordinary classifier of its classes; its space serves others.

        Returns
        -------
        self : object
            The meta-trained estimator.
        """
        return super().fit(X, y, task=task)

    # -- targets: numbers of classes --------------------------------------------------

    def _fit_targets(self, y, starts, again):
        check_classification_targets(y)
        codes, n_classes = np.empty(len(y)), 0
        for a, b in pairwise(starts):
            classes, within = np.unique(y[a:b], return_inverse=True)
            codes[a:b] = n_classes + within
            n_classes += len(classes)
        self._of_one_task = classes if len(starts) == 2 else None
        return codes[:, None], None

    def _new_targets(self, y):
        if y.dtype.kind == "f":  # of other kinds a few rows cannot tell
            check_classification_targets(y)
        labels = np.unique(y)
        if hasattr(self, "classes_"):
            _check_alike(self.classes_, labels)
            labels = np.union1d(self.classes_, labels)
        self._make_room(labels)
        return np.searchsorted(labels, y)[:, None], None

    def _make_room(self, labels):
        """Sums and counts of more classes, with nothing in them yet."""
        sums = np.zeros((len(labels), self._network.layout.sizes[-1]))
        counts = np.zeros(len(labels))
        if hasattr(self, "classes_"):
            old = np.searchsorted(labels, self.classes_)
            sums[old], counts[old] = self._sums, self._counts
        self.classes_, self._sums, self._counts = labels, sums, counts

    # -- meta-training ----------------------------------------------------------------

    @on_one_blas_thread
    def _meta_train(self, table, ids, again, data):
        check_range("n_way", self.n_way, least=2, unit="classes")
        check_range("support_size", self.support_size)
        hidden = check_hidden_layer_sizes(self.hidden_layer_sizes)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        rng = np.random.default_rng(seed)
        codes = table.Y[:, 0].astype(np.intp)
        task = np.repeat(np.arange(table.n_tasks), table.sizes)
        classes = prototypes.class_table(codes, task)
        settings = prototypes.Settings(
            self.n_way,
            self.support_size,
            self.n_queries,
            self.meta_batch_size,
            float(self.learning_rate),
            self.max_iter,
        )
        if hidden:
            self._learn_network(table, classes, hidden, settings, rng)
        else:
            self._learn_linear(table, codes, classes, settings, rng)
        self._begin_task()
        self._start = None
        labels = vars(self).pop("_of_one_task")
        if labels is not None:
            self._make_room(labels)
            self._add(table.X, codes, table.weight)
            self._start = self.classes_.copy(), self._sums, self._counts

    def _learn_network(self, table, classes, hidden, settings, rng):
        if classes is None:
            n_classes = int(table.Y.max()) + 1
            raise ValueError(
                "hidden_layer_sizes needs a task with two classes of two rows or more: "
                "one row to take the mean of, and one to be told; got "
                f"n_samples={table.X.shape[0]} of {n_classes} classes in "
                f"{table.n_tasks} tasks. Set hidden_layer_sizes=(), or check that task "
                "is the task's id of each row."
            )
        sizes = (table.X.shape[1], *hidden, int(self.n_components))
        layout = ParamLayout(sizes, bool(self.layer_norm))
        net = Network(layout, self.activation)
        start, losses = prototypes.begin(net, rng), []
        rows = _rows_of(table.X, start.dtype)
        run = prototypes.learn(net, start, rows, classes, settings, rng)
        for theta, loss in run:  # noqa: B007 the last one is what was learned
            losses.append(loss)
        if not np.isfinite(theta).all():
            raise ValueError(
                "Meta-training produced weights that are not finite. Set "
                "standardize=True, or lower learning_rate."
            )
        self._set_network(net, theta[:-1])
        self.temperature_ = float(np.exp(theta[-1]))
        self.loss_curve_, self.n_iter_ = losses, len(losses)

    def _learn_linear(self, table, codes, classes, settings, rng):
        vars(self).pop("loss_curve_", None)
        rows = _rows_of(table.X, np.float64)
        means, within = _class_statistics(rows, table.X.shape, codes)
        sizes, first = np.bincount(codes), np.unique(codes, return_index=True)[1]
        task = np.searchsorted(table.starts, first, side="right")
        net, theta = prototypes.discriminant(
            within, means, sizes, task, np.mean(self.support_size)
        )
        self._set_network(net, theta)
        self.temperature_, self.n_iter_ = 0.5, 1
        if classes is not None:
            best = prototypes.best_log_temperature(
                net, theta, rows, classes, settings, rng
            )
            self.temperature_ = float(np.exp(best))

    # -- adaptation -------------------------------------------------------------------

    def _begin_task(self):
        for name in ("classes_", "_sums", "_counts"):
            vars(self).pop(name, None)

    def _forget(self):
        self._begin_task()
        if self._start is not None:
            classes, self._sums, self._counts = self._start
            self.classes_ = classes.copy()  # which anyone may write into

    def _adapt_to(self, batch):
        weight = batch.weight[0] * batch.n_rows[0]
        self._add(batch.X[0], batch.Y[0, :, 0].astype(np.intp), weight)

    def _add(self, X, codes, weight):
        """Add standardised rows to the sums of their classes."""
        sums, counts = self._sums.copy(), self._counts.copy()
        for rows in gen_batches(X.shape[0], self._chunk):
            Z = self._embed(X[rows]) * weight[rows, None]
            np.add.at(sums, codes[rows], Z)
        np.add.at(counts, codes, weight)
        self._sums, self._counts = sums, counts

    @property
    def _chunk(self):
        return max(1, PREDICT_CELLS // sum(self._network.layout.sizes))

    def _embed(self, X):
        """Standardised rows in the learned space, in the precision of X."""
        X = self._dense(X)
        theta = self._theta.astype(X.dtype)
        return network.predict(self._network, theta[None], X[None])[0]

    def _raw_outputs(self, X):
        C = self.prototypes_
        logits = np.empty((X.shape[0], len(C)))
        for rows in gen_batches(X.shape[0], self._chunk):
            Z = self._embed(self._scaling.transform_X(self._dense(X[rows])))
            squares = (Z**2).sum(axis=1)[:, None] + (C**2).sum(axis=1) - 2 * Z @ C.T
            logits[rows] = -self.temperature_ * squares
        return logits

    # -- fitted attributes ------------------------------------------------------------

    @property
    def prototypes_(self):
        """The class means in the learned space."""
        if not hasattr(self, "_sums"):
            raise AttributeError(
                f"This {type(self).__name__} is not fitted or not adapted yet: it has "
                "no classes. Call adapt(X, y)."
            )
        return self._sums / self._counts[:, None]


def _check_alike(classes, labels):
    """Refuse to add text to numbers, which NumPy would make text of."""
    if isinstance(classes[0], str) != isinstance(labels[0], str):
        raise ValueError(
            f"y has labels such as {show(labels[0])}, and the model has classes such "
            f"as {show(classes[0])}: text and numbers do not mix. Give labels of the "
            "same type, or adapt afresh: adapt(X, y)."
        )


def _rows_of(X, dtype):
    """A function that gives rows of X by their numbers, dense."""

    def rows(index):
        part = X[index]
        part = part.toarray() if hasattr(part, "toarray") else part
        return part.astype(dtype, copy=False)

    return rows


def _class_statistics(rows_of, shape, codes):
    """Means of the classes, and the covariance of rows about them, shrunk.

    ``rows_of`` gives dense rows by their numbers: a part of all is held at a time.
    """
    n_rows, n_features = shape
    counts = np.bincount(codes)
    means, squares = np.zeros((len(counts), n_features)), 0.0
    varies = np.zeros(n_features, dtype=bool)
    blocks = [*gen_batches(n_rows, max(1, BLOCK_CELLS // n_features))]
    for block in blocks:
        X = rows_of(block)
        np.add.at(means, codes[block], X)
        varies |= X.any(axis=0)
        squares += (X**2).sum()
    means /= counts[:, None]
    left = (rows_of(block) - means[codes[block]] for block in blocks)
    products, fourth = prototypes.products(left, n_features)
    if np.trace(products) <= ROUNDING * squares:  # single rows, or copies
        return means, None
    covariance = prototypes.shrunk(products, fourth, n_rows)
    covariance *= n_rows / (n_rows - len(counts))
    constant = ~varies  # nothing is known of such a column: as a standard one
    covariance[constant] = covariance[:, constant] = 0
    covariance[constant, constant] = 1
    return means, covariance
