r"""What the learned prior asks of a likelihood, and how to add one.

A likelihood says how likely a target y is, given the linear predictors eta of its row.
Everything else (modes, Laplace evidence, integrals, posteriors) is written once, for
any of them: see `laplace`, `lines` and `quadrature`.

A likelihood fits here if eta is its natural parameter: the slope of the log density is
then y - mu, and the curvature is a function of mu alone. A negative binomial with a log
link, for example, does not fit, because its curvature in eta depends on y as well.

To add a likelihood:

1. Write a file beside this one, with a frozen dataclass that fills the abstract methods
   of `OneOutput` (or of `Likelihood`, if a target has several linear predictors).
2. Add a line to the table in ``likelihoods/__init__.py``. Only tests read this table.
3. If the dataclass has arguments without a default, give them values in ``SETTINGS`` of
   ``tests/test_likelihoods.py``.

``tests/test_likelihoods.py`` then tests it: the derivatives against finite differences,
the predictive against sampling, the draws against mean and variance, and the evidence
of tasks and its gradient against brute force.

To make an estimator of it:

1. Subclass `BaseEmpiricalBayes`, with a mixin of `skmeta._mixins` to its left.
2. `_task_model` returns ``LaplaceModel(YourLikelihood(...))``. `_make_targets` returns
   the `Targets` (``skmeta/_targets.py``) that check y and turn outputs into answers.
3. Export the class in ``skmeta/__init__.py`` and list it in ``docs/api.rst``. Add it to
   the estimators in ``tests/test_common.py``, ``tests/test_contract.py`` and
   ``tests/test_persistence.py``.
"""

from abc import ABC, abstractmethod

import numpy as np

from skmeta._core.prior import lines, quadrature
from skmeta._core.prior.moderation import MODERATIONS


class Likelihood(ABC):
    """The distribution of a target y, given its o linear predictors eta.

    It is an exponential family in its natural parameter: the log density of a row is

        y'eta - A(eta), up to a term without eta,

    divided by a constant dispersion if there is one. So it is concave in eta, its slope
    is y - mu with mu the mean of y, and its curvature W is the covariance of y and a
    function of mu alone. A row of weight w adds w times its log density.

    Shapes: ``eta``, ``mu`` and ``Y`` are (..., o), whatever the leading axes, and
    ``weight`` is (...). Searches try any eta, so every method is finite wherever eta
    is: a mean that grows like exp(eta) is held at some large number.

    Attributes
    ----------
    n_outputs : int
        o, the number of linear predictors of a row.
    information : float
        About the most information that a row of weight 1 holds about one of its linear
        predictors: the curvature of a typical row. A search measures spreads relative
        to the information of a task.
    centre : float
        The centre of the weak prior on the mean of the intercept, where the search for
        that mean begins.
    mean_deviation : float
        The deviation of the weak prior on the mean of the intercept, about ``centre``.
        That on the mean of a slope, about zero and for standardised columns, has no
        larger deviation.
    slopes_deviation : float
        The deviation of all these slopes together, however many they are.
    unseen_deviation : float
        What takes the place of ``mean_deviation`` in a direction that no row looked at.
    longest_step : float
        The largest change of a linear predictor in one step of Newton's method. It is
        infinite if the curvature is bounded. If it is finite, a search begins at the
        prior's mean wherever the mode of an earlier search is worse.
    moderations : tuple of float
        Shares of the posterior's variance that predictions may average over; held-out
        tasks choose. ``(1.0,)`` uses the whole variance of the normal posterior.
    centre_is_mean : bool
        Whether the normal posterior stands about the posterior's mean rather than its
        mode. A mean that grows like exp(eta) feels the difference.
    only_differences : bool
        Whether a constant added to all linear predictors of a row changes nothing.
    one_row_tells : bool
        Whether tasks of one row each show how much tasks differ. They do if a target
        can vary more than it would if all tasks were alike; a label cannot.
    own_designs : bool
        Whether a row has a design of its own for each of its J linear predictors, and
        one vector of coefficients serves them all. Then ``n_outputs`` is 1.
    weight_is_exposure : bool
        Whether the weight of a row is the size of what a target was counted in, which
        may be in any unit. Otherwise a weight of 2 is a row that is there twice.
    """

    n_outputs: int
    centre = 0.0
    # Gelman et al. (2008) recommend this scale for logistic regression.
    mean_deviation = 2.5
    slopes_deviation = 5.0
    unseen_deviation = 1.0
    longest_step = np.inf
    moderations = MODERATIONS
    centre_is_mean = False
    only_differences = False
    one_row_tells = False
    own_designs = False
    weight_is_exposure = False

    @property
    @abstractmethod
    def information(self):
        """See the attribute above; a plain class attribute will do."""

    @classmethod
    def of_targets(cls, Y, weight, offset=None):
        """The likelihood of such targets, with all that depends on them.

        Parameters
        ----------
        Y : ndarray of shape (n_rows, o)
        weight : ndarray of shape (n_rows,)
        offset : ndarray of shape (n_rows, o) or None
            What a base model adds to the linear predictors.
        """
        return cls()

    def n_rows(self, weight):
        """How many rows (...) the rows of these weights (..., n) count as."""
        if self.weight_is_exposure:
            return (weight > 0).sum(axis=-1)
        return weight.sum(axis=-1)

    @property
    def is_steep(self):
        """Whether the curvature has no bound."""
        return np.isfinite(self.longest_step)

    # -- a row ------------------------------------------------------------------------

    @abstractmethod
    def mean(self, eta):
        """Mean mu (..., o) of a target, given its linear predictors."""

    @abstractmethod
    def log_density(self, eta, Y):
        """Log density (...) of a target.

        It may lack a term without eta. That term is best chosen such that the log
        density of a well-predicted target is about zero, and the sum is best written
        without large terms that cancel: a search goes no further than rounding allows.
        """

    def log_normaliser(self, Y, weight):
        """The terms without eta (n,) that `log_density` lacks; by default none."""
        return np.zeros(len(Y))

    def slope(self, mu, Y):
        """Derivative (..., o) of the log density in eta."""
        return Y - mu

    @abstractmethod
    def curvature(self, mu, a=0, b=0):
        """Minus the second derivative (...) of the log density in eta_a and eta_b."""

    def curvatures(self, mu):
        """All of them as matrices W (..., o, o)."""
        o = mu.shape[-1]
        W = [self.curvature(mu, a, b) for a in range(o) for b in range(o)]
        return np.stack(W, axis=-1).reshape(*mu.shape, o)

    @abstractmethod
    def curvature_slope(self, mu, Q):
        """Derivative (..., o) in eta of tr(Q W) / 2, for symmetric Q (..., o, o)."""

    @abstractmethod
    def root_curvature(self, mu):
        """A (..., o, o) with A'A = W."""

    @abstractmethod
    def draw(self, eta, rng):
        """Targets (..., o) of weight 1; rng is a `Generator` or a `RandomState`."""

    # -- averages over what is not known of eta ---------------------------------------

    @abstractmethod
    def predictive_scores(self, eta, factor):
        """Linear predictors (..., o) whose mean is the average `predictive`.

        Labels are ranked by them; they need not be exact where no formula is known.
        """

    def predictive(self, eta, factor):
        """Mean (..., o) of a target, averaged over what is not known.

        The linear predictors are eta + factor u, u ~ N(0, I); factor is (..., o, r).
        """
        return self.mean(self.predictive_scores(eta, factor))

    @abstractmethod
    def log_predictive(self, eta, factor, Y, weight):
        """The score (...) of a held-out target: structures and starts are chosen by it.

        It is the log of the averaged likelihood. It may also be the log density at the
        mean of `predictive`, if that mean is what predictions are judged by.
        """

    # -- tasks whose linear predictors move along a line ------------------------------

    @property
    @abstractmethod
    def has_integral(self):
        """Whether a task's evidence can be integrated if one coefficient varies."""

    @abstractmethod
    def suits_lines(self, weight):
        """Whether `line_evidence` is accurate for a task with these weights (n,)."""

    @abstractmethod
    def line_evidence(self, stack, mean, L, u=None):
        """`lines.Terms` of tasks each of whose rows are multiples of one row.

        It is used instead of Laplace's method, which is poor if a task says little.
        """


class OneOutput(Likelihood):
    """A likelihood whose targets have one linear predictor: o = 1.

    Tasks that move along a line are integrated by quadrature, and so are held-out
    targets.
    """

    n_outputs = 1
    has_integral = True

    def root_curvature(self, mu):
        return np.sqrt(self.curvature(mu))[..., None, None]

    def log_predictive(self, eta, factor, Y, weight):
        deviation = np.sqrt((factor**2).sum(axis=-1))
        shape = np.broadcast_shapes(eta.shape, deviation.shape, Y.shape)
        every = quadrature.Lines(
            *(
                np.broadcast_to(field, shape).reshape(-1, 1)
                for field in (eta, deviation, Y, weight[..., None])
            )
        )
        chunks = quadrature.in_chunks(len(every.b), 1)
        values = [quadrature.integrate(self, every.part(c)).value for c in chunks]
        return np.concatenate(values or [np.zeros(0)]).reshape(shape[:-1])

    def suits_lines(self, weight):
        return True

    def line_evidence(self, stack, mean, L, u=None):
        return lines.integral(self, stack, mean, L, lines.directions(stack, L), u)
