"""Classifier by class means in a learned space (Snell, Swersky & Zemel, 2017)."""

from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skmeta import _callbacks
from skmeta._base import BaseMetaLearner
from skmeta._checks.class_weight import check_labels_of_tasks, log_weights
from skmeta._checks.keywords import with_hint_to_task
from skmeta._checks.parameters import check_hidden_layer_sizes, check_range
from skmeta._core.layout import ParamLayout
from skmeta._core.network import Network
from skmeta._core.prototypes.episodes import EpisodeSettings, class_table
from skmeta._core.prototypes.learn import linear_space, network_space
from skmeta._core.prototypes.space import ClassSums, squared_distances
from skmeta._core.prototypes.typicality import share_further
from skmeta._core.tasks import slices
from skmeta._export import PlainModel, linear_model_of
from skmeta._mixins import MetaClassifierMixin
from skmeta._prototypes_side_by_side import PrototypesSideBySide
from skmeta._targets import OpenLabels
from skmeta._task_input import validate_new_rows
from skmeta._threads import on_one_blas_thread

_NOT_TYPICAL = (
    "typicality compares distances with those of classes that were left out of a "
    "linear space. It needs hidden_layer_sizes=(), and three or more classes of two "
    "rows in meta-training; here are {} hidden layers. Choose a limit for distances(X) "
    "on classes that you hold out yourself."
)


class PrototypicalClassifier(
    _callbacks.CallbackSupportMixin,
    PrototypesSideBySide,
    MetaClassifierMixin,
    PlainModel,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseMetaLearner,
):
    r"""Classifier that compares rows with class means in a learned space.

    Meta-training learns a space in which rows of any class lie close together: a linear
    space in closed form, or that of a small network. Adapting takes the mean of the
    rows of each class in that space. So classes may be new, there may be any number of
    them, and they may come at any time.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=()
        Units of each hidden layer of the network. With ``()`` there is no network, but
        a linear space in closed form, from the covariances of rows within classes and
        of class means.
    n_components : int, default=64
        Number of dimensions of the network's space: the units of its last layer, which
        is linear. It is not used without hidden layers.
    activation : {"relu", "tanh"}, default="relu"
        Activation function of the hidden layers.
    layer_norm : bool, default=True
        Whether hidden layers are normalised over their units (Ba et al., 2016).
    n_way : int or tuple (low, high), default=(5, 20)
        Number of classes in an episode of the meta-training, or a range to draw it
        from. A task with fewer classes gives all of them. More classes than there will
        be later are good practice.
    support_size : int or tuple (low, high), default=(1, 5)
        Number of rows of each class to take the mean of, or a range to draw it from. A
        class with no more rows gives all but one.
    n_queries : int, default=5
        The most rows of each class to classify in an episode.
    learning_rate : float, default=3e-3
        Rate of Adam: constant for half of the run, then falling linearly to 0.
    meta_batch_size : int, default=4
        Episodes per meta-iteration.
    max_iter : int, default=1000
        Meta-iterations.
    class_weight : dict {label: weight}, "balanced" or None, default=None
        How common the classes are next to each other: probabilities are proportional to
        these numbers, and labels without one have 1. None and "balanced" are the same,
        since class means do not depend on how many rows a class has. A warning says if
        no task of the meta-training has any of the labels.
    standardize : bool, default=True
        Whether X is standardised inside, by mean and deviation of all meta-training
        rows, so that units do not matter. A sparse X stays sparse and gives the same
        model as a dense X.
    random_state : int, RandomState instance or None, default=None
        Seed of the initial parameters and of the episodes.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels of the task that the model is adapted to. After fit without task ids
        they are those of y. After fit on several tasks the attribute does not exist.
    prototypes_ : ndarray of shape (n_classes, n_dimensions)
        The class means in the learned space.
    temperature_ : float
        The number that squared distances are multiplied by.
    coefs_, intercepts_ : list of ndarray
        Weights (fan_in, fan_out) and biases (fan_out,) of each layer, on standardised
        data.
    n_tasks_ : int
        Number of tasks seen in meta-training.
    n_iter_ : int
        Number of meta-iterations; 1 without hidden layers.
    loss_curve_ : list of float
        Log-loss of the episodes of each meta-iteration; only with hidden layers.
    n_adapt_rows_ : int
        Number of rows that the model is adapted to.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (``n_features_in_``,)
        Names of the features, if fit saw names.

    See Also
    --------
    ReptileClassifier : Own classes, by descent from a learned start.
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
    many classes. Each episode draws some of them.

    Without hidden layers z whitens the covariance within classes, and then weighs each
    direction by :math:`v / (v + 1/K)`, v being the variance of class means there and K
    the mean of ``support_size``: in directions in which classes hardly differ, means of
    a few rows say nothing (probabilistic linear discriminant analysis). Both
    covariances are shrunk by the rule of Ledoit and Wolf. Episodes choose only the
    temperature. If no class has two different rows, z is the standardised X. If no task
    has two classes of two rows, the temperature is 1/2.

    :meth:`adapt` begins a new task, which has only the classes of the rows given.
    :meth:`partial_adapt` continues with the present classes and may add others. The
    model keeps only sums of the rows, so portions and their order make no difference.
    ``sample_weight`` weighs rows in the means. Meta-training treats all rows alike.

    The classifier is made for up to some hundreds of columns. For more columns, and for
    sparse ones, put :class:`~sklearn.decomposition.PCA` or
    :class:`~sklearn.decomposition.TruncatedSVD` before it.

    References
    ----------
    J. Snell, K. Swersky, R. Zemel, "Prototypical Networks for Few-shot Learning",
    NeurIPS 2017.

    S. Ioffe, "Probabilistic Linear Discriminant Analysis", ECCV 2006.

    O. Ledoit, M. Wolf, "A Well-Conditioned Estimator for Large-Dimensional Covariance
    Matrices", Journal of Multivariate Analysis 88(2), 2004.

    Examples
    --------
    Learn from six digits how digits differ, then recognise four others:

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
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "standardize": ["boolean"],
        "random_state": ["random_state"],
    }

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
        class_weight=None,
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
        self.class_weight = class_weight
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
            Labels. With task ids a label has a meaning only within its task.
        task : array-like of shape (n_samples,), default=None
            Which task each row belongs to. Without ids all rows are one task, and the
            model is an ordinary classifier of its classes. Its space also serves other
            classes.

        Returns
        -------
        self : object
            The meta-trained estimator.
        """
        return super().fit(X, y, task=task)

    def _make_targets(self):
        return OpenLabels()

    # -- meta-training ----------------------------------------------------------------

    @on_one_blas_thread
    def _meta_train(self, table, ids, again, data):
        check_labels_of_tasks(self.class_weight, data["y"])
        check_range("n_way", self.n_way, least=2, unit="classes")
        check_range("support_size", self.support_size)
        hidden = check_hidden_layer_sizes(self.hidden_layer_sizes)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        rng = np.random.default_rng(seed)
        codes = table.Y[:, 0].astype(np.intp)
        task = np.repeat(np.arange(table.n_tasks), table.sizes)
        classes = class_table(codes, task)
        settings = EpisodeSettings(
            self.n_way,
            self.support_size,
            self.n_queries,
            self.meta_batch_size,
            float(self.learning_rate),
            self.max_iter,
        )
        stopped_at = partial(self._stopped_at, table=table, codes=codes)
        n_iter = settings.max_iter if hidden else 1
        with _callbacks.meta_iterations(self, n_iter, **data) as report:
            if hidden:
                net = self._network(table, classes, hidden)
                found = network_space(
                    net,
                    table,
                    classes,
                    settings,
                    rng,
                    lambda *so_far: report(partial(stopped_at, *so_far)),
                )
            else:
                found = linear_space(table, codes, classes, settings, rng), None
                report(partial(stopped_at, lambda: found[0], None))
        space, losses = found
        if space is None:
            raise ValueError(
                "Meta-training produced weights that are not finite. Set "
                "standardize=True, or lower learning_rate."
            )
        self._keep(space, losses, table, codes)

    def _keep(self, space, losses, table, codes):
        """Set the fitted attributes to a `LearnedSpace`; a linear one has no losses."""
        if hasattr(self, "classes_"):  # there was a single task
            labels = self.classes_.copy()
            space = space.starting_from(labels, table.X, codes, table.weight)
        self._learned, self._present = space, space.start
        self.temperature_ = space.temperature
        self.n_iter_ = 1 if losses is None else len(losses)
        vars(self).pop("loss_curve_", None)
        if losses is not None:
            self.loss_curve_ = list(losses)

    def _stopped_at(self, space, losses, table, codes):
        """Fitted attributes, for callbacks, as if meta-training stopped here.

        ``space`` is a function that makes the `LearnedSpace`.
        """
        model = object.__new__(type(self))
        vars(model).update(vars(self))
        model._keep(space(), losses, table, codes)
        return _callbacks.fitted_attributes(model)

    def _network(self, table, classes, hidden):
        if classes is None:
            n_classes = int(table.Y.max()) + 1
            raise ValueError(
                "hidden_layer_sizes needs a task with two classes of two rows or more: "
                "one row to take the mean of, and one to classify; got "
                f"n_samples={table.X.shape[0]} of {n_classes} classes in "
                f"{table.n_tasks} tasks. Set hidden_layer_sizes=(), or check that task "
                "is the task's id of each row."
            )
        sizes = (table.X.shape[1], *hidden, int(self.n_components))
        return Network(ParamLayout(sizes, bool(self.layer_norm)), self.activation)

    # -- adaptation -------------------------------------------------------------------

    def _before_adapting(self):
        # A fit to a single task knows its classes, which another task does not share.
        vars(self).pop("classes_", None)
        self._present = None

    def _forget(self):
        self._present = self._learned.start
        if self._present is not None:
            self.classes_ = self._present.classes.copy()  # users may write into it

    def _adapt_to(self, batch):
        space = self._learned
        present = self._present or ClassSums.empty(space.sizes[-1])
        codes = batch.Y[0, :, 0].astype(np.intp)
        weight = batch.weight[0] * batch.total_weight[0]
        # The base has added the labels of these rows to the classes.
        present = present.among(self.classes_.copy())
        self._present = present.plus(space.embedded(batch.X[0], codes, weight))

    def _raw_outputs(self, X):
        space, means = self._learned, self.prototypes_
        logits = -space.temperature * squared_distances(self._embedded(X), means)
        return logits + self._log_weights(self.classes_)

    def _log_weights(self, labels):
        return log_weights(self.class_weight, labels)

    def _embedded(self, X):
        """Validated rows in the learned space, (n, n_dimensions)."""
        space, transform = self._learned, self._scaling.transform_X
        blocks = slices(X.shape[0], space.block)
        parts = [space.embed(transform(self._dense(X[rows]))) for rows in blocks]
        return np.concatenate(parts)

    # -- the learned space ------------------------------------------------------------

    def transform(self, X):
        """Place rows in the learned space, where those of a class lie close together.

        It needs no classes, so that it works before :meth:`adapt`, too: to look at rows
        in a plot, to search for similar ones, or to cluster them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_dimensions)
            Their coordinates. Distances between them are plain Euclidean ones.

        Examples
        --------
        >>> from skmeta import PrototypicalClassifier
        >>> from skmeta.datasets import make_linear_tasks
        >>> *tasks, (X, y) = make_linear_tasks(
        ...     12, kind="classification", random_state=0
        ... )
        >>> model = PrototypicalClassifier(random_state=0).meta_fit(tasks)
        >>> model.transform(X).shape[0]
        20
        """
        check_is_fitted(self)
        return self._embedded(validate_new_rows(self, X))

    def distances(self, X):
        r"""Compute distances to the class means in the learned space.

        The nearest class is the predicted one, unless ``class_weight`` says that others
        are more common. A row that is far from all of them may belong to none:
        :meth:`typicality` says how far is far.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        distances : ndarray of shape (n_samples, n_classes)
            Euclidean distances :math:`|z(x) - c_k|`, in the order of ``classes_``.

        Examples
        --------
        >>> from skmeta import PrototypicalClassifier
        >>> from skmeta.datasets import make_linear_tasks
        >>> *tasks, (X, y) = make_linear_tasks(
        ...     12, kind="classification", random_state=0
        ... )
        >>> model = PrototypicalClassifier(random_state=0).meta_fit(tasks)
        >>> model.adapt(X[:5], y[:5]).distances(X[5:]).shape
        (15, 2)
        """
        return np.sqrt(np.maximum(self._squared_distances(X), 0.0))

    def typicality(self, X):
        """Tell how typical rows are of each class, to find those of none of them.

        The typicality of a row for a class is the share of the rows of a class that
        would lie further from the mean of their class than this row does. So a row that
        is less typical than 0.05 of all classes belongs to none of them, and about one
        in twenty rows that do belong to one are lost by that rule::

            none = adapted.typicality(X).max(axis=1) < 0.05

        How far rows lie is learned in meta-training from classes that were left out of
        the learned space, and allows for the number of rows of each class mean. So it
        holds for new classes, on average over classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        typicality : ndarray of shape (n_samples, n_classes)
            Between 0 and 1, in the order of ``classes_``. Rows do not sum to 1.

        Raises
        ------
        ValueError
            If there are hidden layers, or if fewer than three classes of the
            meta-training have several rows.
        """
        squared = self._squared_distances(X)
        apart, counts = self._learned.apart, self._present.counts
        if apart is None:
            raise ValueError(_NOT_TYPICAL.format(len(self._layers()) - 1))
        return share_further(apart, squared, counts)

    def _squared_distances(self, X):
        check_is_fitted(self)
        means = self.prototypes_
        return squared_distances(self._embedded(validate_new_rows(self, X)), means)

    # -- a plain model ----------------------------------------------------------------

    def _why_not_plain(self):
        if len(self._layers()) == 1:
            return None
        return "no network of scikit-learn compares rows with class means"

    def _plain_estimator(self):
        # The square of a row's own length is the same for all classes.
        (layer,) = self._layers()
        means, twice = self.prototypes_, 2 * self._learned.temperature
        weight = twice * np.asarray(layer.weight, dtype=np.float64) @ means.T
        bias = twice * (means @ layer.bias - 0.5 * (means**2).sum(axis=1))
        bias = bias + self._log_weights(self.classes_)
        return linear_model_of(self, *self._scaling.linear_in_user_units(weight, bias))

    # -- fitted attributes ------------------------------------------------------------

    @property
    def _reads_rows_once(self):
        # a network would ask for the rows in each meta-iteration
        return not check_hidden_layer_sizes(self.hidden_layer_sizes)

    @property
    def _n_features_out(self):
        """The number of columns that `transform` returns, for scikit-learn."""
        return self._learned.sizes[-1]

    @property
    def prototypes_(self):
        """The class means in the learned space."""
        if getattr(self, "_present", None) is None:
            raise AttributeError(
                f"This {type(self).__name__} is not fitted or not adapted yet: it has "
                "no classes. Call adapt(X, y)."
            )
        return self._present.means

    @property
    def coefs_(self):
        """Weights of each layer of the network, on standardised data."""
        return [layer.weight for layer in self._layers()]

    @property
    def intercepts_(self):
        """Biases of each layer of the network, on standardised data."""
        return [layer.bias for layer in self._layers()]

    def _layers(self):
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"This {type(self).__name__} is not fitted yet.")
        return self._learned.layers()
