"""Features that all tasks share, learned for the prior of `empirical_bayes` to use."""

from numbers import Integral, Real

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from skmeta._checks.parameters import check_hidden_layer_sizes, check_range
from skmeta._core.prior.episodic import FeatureOptions

# Meta-iterations and rate of the runs that show whether features pay. If they still pay
# more and more at the end, longer runs follow, which take longer steps.
MAX_ITER, RATE = 1000, 1e-3
MORE, RATE_OF_MORE = 4, 3e-3


class LearnedFeatures(BaseEstimator):
    r"""Settings of features that an empirical Bayes model learns beside X.

    A network that all tasks share makes further columns, and the model adapts to each
    task by its coefficients of X and of these columns. The network is meta-trained so
    that a few rows of a task predict its other rows well. The features are used only if
    held-out tasks clearly gain; otherwise the model is the linear one.

    Pass an instance as ``features`` to :class:`~skmeta.EmpiricalBayesRegressor` or
    :class:`~skmeta.EmpiricalBayesClassifier`, which checks the parameters when it is
    fitted. A grid reaches them as, for example, ``features__hidden_layer_sizes``.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(32,)
        Units of the hidden layers of the network. With ``()`` there are no features,
        and the model is linear.
    n_components : int, default=16
        Number of learned features: units of the network's last layer, which is linear.
    activation : {"tanh", "relu"}, default="tanh"
        Activation function of the hidden layers.
    layer_norm : bool, default=False
        Whether hidden layers are normalised over their units (Ba et al., 2016).
    learning_rate : float or "auto", default="auto"
        Rate of Adam for the network: constant for half of the run, then falling
        linearly to 0. "auto" is 0.001, and 0.003 in the longer runs that
        ``max_iter="auto"`` may take.
    support_size : int or tuple (low, high), default=(1, 20)
        Number of rows that are given of each task in a meta-iteration, or a range to
        draw it from. The features are learned by the loss of other rows.
    meta_batch_size : int, default=25
        Tasks per meta-iteration.
    max_iter : int or "auto", default="auto"
        Meta-iterations of a run. The features are those of the iteration after which
        held-out tasks are predicted best. "auto" is 1000. If held-out tasks gain from
        the features, and still more at the end, runs of twice as many follow, or of
        four times as many if there is a single run. They are used if held-out tasks
        gain further.

    See Also
    --------
    EmpiricalBayesRegressor : Numbers; features must also lower the squared error.
    EmpiricalBayesClassifier : Labels; features must lower the log-loss.

    Notes
    -----
    A row becomes :math:`\psi(x) = [z(x), x, 1]`, where z are the learned features. A
    run begins with the linear prior and with small random features. It lowers minus the
    log density of some rows of a task, given others:

    .. math:: \log p(y_q \mid y_s) = \log p(y_s, y_q) - \log p(y_s).

    That is a difference of two evidences, and its gradient passes through the solution
    for the task's coefficients. With the network the run learns the mean of the
    coefficients, a scale for each feature and for each direction of the linear prior,
    and the noise.

    Further runs, each without the tasks of one of 5 folds, show for how long to learn.
    Features are used if held-out tasks gain by more than two standard errors: in log
    density and in root mean squared error, or for labels in log-loss. From 2,000 tasks
    on, a single run without 200 of them takes the place of the folds. Holding tasks out
    needs at least 5 tasks. If the error of held-out tasks still falls at the longest
    run that ``max_iter="auto"`` tries, a `ConvergenceWarning` says so.

    A classifier takes labels as numbers while it learns features, after subtracting
    their base probabilities (Bertinetto et al., 2019). Then it learns the mean of the
    coefficients, and one spread common to all features, by Laplace's method beside its
    linear prior.

    Without an intercept in the model no unit has an offset, so that features of
    ``activation="tanh"`` are odd functions.

    References
    ----------
    L. Bertinetto, J. F. Henriques, P. Torr, A. Vedaldi, "Meta-learning with
    differentiable closed-form solvers", ICLR 2019.

    J. Harrison, A. Sharma, M. Pavone, "Meta-Learning Priors for Efficient Online
    Bayesian Regression", WAFR 2018.

    Examples
    --------
    >>> from skmeta import EmpiricalBayesRegressor, LearnedFeatures
    >>> from skmeta.datasets import make_sinusoid_tasks
    >>> *tasks, (X, y) = make_sinusoid_tasks(81, 20, noise=0.1, random_state=0)
    >>> features = LearnedFeatures((32, 32), learning_rate=5e-3, max_iter=100)
    >>> model = EmpiricalBayesRegressor(features=features, random_state=0)
    >>> model.meta_fit(tasks).n_feature_iter_ > 0  # held-out waves gain
    True
    >>> model.adapt(X[:10], y[:10]).score(X[10:], y[10:]) > 0.8
    True
    """

    _parameter_constraints: dict = {
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"tanh", "relu"})],
        "layer_norm": ["boolean"],
        "learning_rate": [
            Interval(Real, 0, None, closed="neither"),
            StrOptions({"auto"}),
        ],
        "support_size": [Interval(Integral, 1, None, closed="left"), tuple],
        "meta_batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
    }

    def __init__(
        self,
        hidden_layer_sizes=(32,),
        *,
        n_components=16,
        activation="tanh",
        layer_norm=False,
        learning_rate="auto",
        support_size=(1, 20),
        meta_batch_size=25,
        max_iter="auto",
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_components = n_components
        self.activation = activation
        self.layer_norm = layer_norm
        self.learning_rate = learning_rate
        self.support_size = support_size
        self.meta_batch_size = meta_batch_size
        self.max_iter = max_iter


def feature_options(features):
    """Checked options of a `LearnedFeatures`; None for a linear model."""
    if features is None:
        return None
    features._validate_params()
    check_range("support_size", features.support_size)
    hidden = check_hidden_layer_sizes(features.hidden_layer_sizes)
    if not hidden:
        return None
    longer, rate = features.max_iter == "auto", features.learning_rate
    return FeatureOptions(
        tuple(hidden),
        int(features.n_components),
        features.activation,
        bool(features.layer_norm),
        RATE if rate == "auto" else float(rate),
        features.support_size,
        features.meta_batch_size,
        MAX_ITER if longer else features.max_iter,
        more=MORE if longer else 1,
        rate_of_more=RATE_OF_MORE if rate == "auto" else float(rate),
    )
