"""Deciding by what a model knows: draws for Thompson sampling, and when to stop."""

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from skmeta._base_choice import before_adapting
from skmeta._checks.aligned import check_aligned
from skmeta._checks.ids import check_task_ids, group
from skmeta._checks.pool import check_n_draws, check_not_far
from skmeta._checks.values import show
from skmeta._choice_sets import events_of, shelves_of
from skmeta._core.prior import deciding
from skmeta._core.prior.answers import Grouped
from skmeta._core.prior.draws import draw_coefficients
from skmeta._core.prior.likelihoods import Bernoulli, Softmax
from skmeta._explain import ExplainsLabels, ExplainsPredictions
from skmeta._task_input import validate_new_rows


class Decides(ExplainsPredictions):
    """The verbs `sample_coef`, `sample_y` and `expected_gain`, beside `explain`."""

    def sample_coef(self, n=1, random_state=None):
        """Draw coefficients of the task, in the units of X and y.

        They come from the task's posterior, and before adapting from the prior. So
        Thompson sampling is one line: the offer to try next is
        ``(X @ model.sample_coef()[0, :-1]).argmax()``.

        Parameters
        ----------
        n : int, default=1
            Number of draws.
        random_state : int, RandomState instance or None, default=None
            Source of the draws. An int gives the same draws each time.

        Returns
        -------
        coef : ndarray of shape (n, n_coefficients)
            The slopes and, last, the intercept of each draw; there is none if
            ``fit_intercept`` is False, or for a ranker without an outside option. With
            more than two classes it has the shape (n, n_classes, n_coefficients).

        Raises
        ------
        ValueError
            If the model has learned features, whose coefficients are not those of X.
            :meth:`sample_y` draws from such a model.

        Notes
        -----
        The draws of an adapted model have the mean ``coef_``, ``intercept_`` and the
        covariance ``covariance_``. Before adapting they are coefficients of a new task,
        whatever ``zero_shot_`` is. With ``base_estimator`` they are those of its
        correction.

        References
        ----------
        O. Chapelle, L. Li, "An Empirical Evaluation of Thompson Sampling", NeurIPS
        2011.
        """
        check_is_fitted(self)
        check_n_draws(n)
        learned = self._learned
        if learned.design.network is not None:
            raise ValueError(
                "This model has learned features, whose coefficients are not those of "
                "X. Draw predictions instead: sample_y(X, n)."
            )
        rng = check_random_state(random_state)
        drawn = draw_coefficients(learned, self._present, n, rng)
        drawn = drawn @ self._to_users_units().T
        drawn = drawn.reshape(n, learned.n_outputs, -1)
        if learned.design.fit_intercept:
            drawn[..., -1] += self._scaling.y_mean
        return drawn[:, 0] if learned.n_outputs == 1 else drawn

    @before_adapting
    def sample_y(self, X, n=1, random_state=None):
        """Draw targets of new rows from the predictive distribution.

        The rows of a draw belong to one task: they have the same coefficients, and each
        row has noise of its own.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to draw targets of.
        n : int, default=1
            Number of draws.
        random_state : int, RandomState instance or None, default=None
            Source of the draws. An int gives the same draws each time.

        Returns
        -------
        y : ndarray of shape (n, n_samples)
            Targets: numbers or labels. Their means and deviations, or their
            frequencies, are those that the model predicts.
        """
        X = self._validate_new(X)
        check_n_draws(n)
        return self._sampled(X, n, check_random_state(random_state))

    def _sampled(self, X, n, rng):
        """Targets (n, n_samples) for validated X."""
        drawn = self._draw(X, n, rng)[..., 0]
        base, drawn = self._base_offset(X), self._scaling.inverse_y(drawn)
        return drawn if base is None else drawn + base[:, 0]

    def _draw(self, X, n, rng, **options):
        rows, offset = self._scaling.transform_X(X), self._offset(X)
        known = {"offset": offset, "present": self._present}
        return self._learned.draw(rows, n, rng, **known, **options)

    def expected_gain(self, pool, shelf=None):
        """Compute what the answer to each of some questions is worth.

        It is how much better, on average over the possible answers, the best offer of a
        shelf would be if one picked it after the answer, and not now. So one can stop
        asking when ``max(expected_gain(pool, shelf))`` is small.

        Parameters
        ----------
        pool : {array-like, sparse matrix} of shape (n_pool, n_features)
            Rows that can be asked about.
        shelf : {array-like, sparse matrix} of shape (n_offers, n_features), default=None
            The offers to pick from; None means those of the pool.

        Returns
        -------
        gain : ndarray of shape (n_pool,)
            Expected gains, none of them negative, in the units of the offers' utility:
            those of y for numbers, log-odds for labels, and expected counts per unit of
            exposure for counts.

        See Also
        --------
        suggest_queries : Rows whose answers tell most about all others.

        Notes
        -----
        This is the knowledge gradient of Frazier, Powell & Dayanik. For numbers it has
        a closed form, with the mean noise of the task. For labels and counts the model
        is adapted to each possible answer; if counts are large, to 50 quantiles of
        them. Half-lives are left aside: the question does not make earlier answers
        older.

        References
        ----------
        P. I. Frazier, W. B. Powell, S. Dayanik, "The Knowledge-Gradient Policy for
        Correlated Normal Beliefs", INFORMS Journal on Computing 21(4), 2009.
        """  # noqa: E501 (a type takes one line)
        return self._gain(pool, shelf)

    def _gain(self, pool, shelf, **how):
        check_is_fitted(self)
        pool = validate_new_rows(self, pool)
        check_not_far(pool, self._scaling)
        contrast = self._contrast(**how)
        columns = self._columns_of(pool)
        if shelf is None:
            offers, X = columns, pool
        else:
            X = validate_new_rows(self, shelf)
            check_not_far(X, self._scaling, "shelf")
            offers = self._columns_of(X)
        offset = self._offsets(X) @ contrast
        return self._gains(pool, columns, deciding.Shelf(offers, offset, contrast))

    def _columns_of(self, X):
        return self._learned.design(self._scaling.transform_X(X))

    def _contrast(self):
        """The utility of an offer as weights (o,) of its outputs."""
        return np.ones(1)

    def _offsets(self, X):
        """What a base model says of validated X, in units of the outputs: (n, o)."""
        base = self._base_offset(X)
        if base is None:
            return np.zeros((X.shape[0], self._learned.n_outputs))
        return base / self._scaling.y_scale

    def _gains(self, pool, columns, shelf):
        found = deciding.gain_of_numbers(self._learned, self._present, columns, shelf)
        return self._scaling.y_scale * found


class DecidesByOutcomes(Decides):
    """The same where each possible answer is tried."""

    def _offsets(self, X):
        offset = self._offset(X)
        if offset is None:
            return np.zeros((X.shape[0], self._learned.n_outputs))
        return offset

    def _gains(self, pool, columns, shelf):
        return self._gains_of(columns, self._offsets(pool), shelf)

    def _gains_of(self, columns, offset, shelf):
        """What questions in the columns of the design are worth."""
        learned, present = self._learned, self._present
        how = learned, columns, offset
        if present is None and isinstance(learned.model.likelihood, Bernoulli):
            return deciding.gain_before_labels(*how, shelf)
        if present is None and isinstance(learned.model.likelihood, Softmax):
            return deciding.gain_before_choices(*how, shelf)
        possible = deciding.outcomes(*how, present)
        return deciding.gain_of_outcomes(
            learned, present, columns, offset, possible, shelf, self._utility()
        )

    def _utility(self):
        """See `gain_of_outcomes`."""
        return deciding.utilities


class DecidesByLabels(ExplainsLabels, DecidesByOutcomes):
    """The same of a classifier."""

    def _sampled(self, X, n, rng):
        if len(self.classes_) == 1:
            return np.full((n, X.shape[0]), self.classes_[0])
        drawn = self._draw(X, n, rng)
        if drawn.shape[-1] == 1:
            return self.classes_[(drawn[..., 0] > 0.5).astype(int)]
        return self.classes_[drawn.argmax(axis=-1)]

    def expected_gain(self, pool, shelf=None, *, label=None):
        """Compute what the answer to each of some questions is worth.

        It is how much better, on average over the possible answers, the best offer of a
        shelf would be if one picked it after the answer, and not now. So one can stop
        asking when ``max(expected_gain(pool, shelf))`` is small. The best offer is the
        one with the largest log-odds of a class.

        Parameters
        ----------
        pool : {array-like, sparse matrix} of shape (n_pool, n_features)
            Rows that can be asked about.
        shelf : {array-like, sparse matrix} of shape (n_offers, n_features), default=None
            The offers to pick from; None means those of the pool. If rows are
            differences of two offers, these are the offers themselves.
        label : label, default=None
            The class that makes an offer good; None means ``classes_[1]``. It must be
            given if there are more than two classes.

        Returns
        -------
        gain : ndarray of shape (n_pool,)
            Expected gains in log-odds, none of them negative. With more than two
            classes these are scores of the class less the mean of those of all classes.

        See Also
        --------
        suggest_queries : Rows whose answers tell most about all others.

        Notes
        -----
        This is the knowledge gradient of Frazier, Powell & Dayanik. The model is
        adapted to each possible answer, and the probabilities of the answers are those
        that it predicts. Before the first answer, two classes have an exact formula.
        Half-lives are left aside: the question does not make earlier answers older.

        References
        ----------
        P. I. Frazier, W. B. Powell, S. Dayanik, "The Knowledge-Gradient Policy for
        Correlated Normal Beliefs", INFORMS Journal on Computing 21(4), 2009.
        """  # noqa: E501 (a type takes one line)
        check_is_fitted(self)
        if len(self.classes_) == 1:
            return np.zeros(validate_new_rows(self, pool).shape[0])
        return self._gain(pool, shelf, label=label)

    def _contrast(self, label=None):
        classes = list(self.classes_)
        if label is None and len(classes) > 2:
            raise ValueError(
                "With more than two classes, say which of them makes an offer good: "
                f"label=... one of {classes}."
            )
        label = classes[1] if label is None else label
        if label not in classes:
            raise ValueError(
                f"label must be one of the classes {classes}; got {show(label)}."
            )
        place, o = classes.index(label), self._learned.n_outputs
        if o == 1:
            return np.array([2.0 * place - 1.0])
        return np.eye(o)[place] - 1.0 / o


class DecidesByChoices(DecidesByOutcomes):
    """The same of a ranker, whose answers are choices from sets of offers."""

    _scale_of_parts = "utility"

    def explain(self, X, *, reference=None):
        """Explain the utilities of offers as sums of parts.

        By source: what the expectation of all tasks says, what the base model says, and
        what each answer added. An answer is a choice set that the model is adapted to,
        in the order in which the sets were given. By feature: the utility of a
        reference offer, and what each feature adds where offers differ from it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Offers whose utilities are to be explained.
        reference : array-like of shape (n_features,), default=None
            The offer that features are compared with. By default it is the mean of all
            offers of the meta-training.

        Returns
        -------
        explanation : Explanation
            Its ``by_source`` and ``by_feature`` sum to its ``total``, which is what
            :meth:`predict` returns.

        Notes
        -----
        The parts of answers are those of Aumann and Shapley: the weights of all answers
        grow together from nothing to what they are, and what each of them moves on the
        way is its part. So the parts sum to what all answers changed together. To first
        order, an answer's part is also what would change without it. The latest 256
        answers are known one by one, and the others together as "earlier answers".

        References
        ----------
        R. J. Aumann, L. S. Shapley, "Values of Non-Atomic Games", 1974.
        """
        return super().explain(X, reference=reference)

    def sample_y(self, X, n=1, random_state=None, *, choice_set=None):
        """Draw choices among the offers of shelves.

        The shelves of a draw belong to one task: they have the same coefficients.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Offers of one shelf, or of several.
        n : int, default=1
            Number of draws.
        random_state : int, RandomState instance or None, default=None
            Source of the draws. An int gives the same draws each time.
        choice_set : array-like of shape (n_samples,), default=None
            The shelf of each offer. Without labels X is one shelf.

        Returns
        -------
        y : ndarray of int of shape (n, n_samples)
            1 for the offer that is chosen on its shelf, and 0 for the others.
        """
        check_aligned(X=X, choice_set=choice_set)
        X = self._validate_new(X)
        check_n_draws(n)
        sets = np.zeros(X.shape[0], dtype=np.intp)
        if choice_set is not None:
            sets = group(check_task_ids(choice_set, X.shape[0], "choice_set"))[0]
        index = shelves_of(sets)
        packed, rows = self._packed(X, index, self._base_offset(X))
        drawn = self._learned.draw(
            packed.X,
            n,
            check_random_state(random_state),
            offset=packed.offset,
            present=self._present,
        )
        y = np.zeros((n, X.shape[0]), dtype=int)
        y[:, rows] = drawn[..., self._targets.outside :][:, index >= 0]
        return y

    def expected_gain(self, pool, shelf=None, *, choice_set=None):
        """Compute what the answer to each of some screens is worth.

        It is how much better, on average over the possible choices, the best offer of a
        shelf would be if one picked it after the answer, and not now. So one can stop
        asking when ``max(expected_gain(...))`` is small.

        Parameters
        ----------
        pool : {array-like, sparse matrix} of shape (n_pool, n_features)
            Offers of all screens that can be asked about.
        shelf : {array-like, sparse matrix} of shape (n_offers, n_features), default=None
            The offers to pick from; None means those of the pool.
        choice_set : array-like of shape (n_pool,)
            The screen of each offer of the pool. It must be given.

        Returns
        -------
        gain : ndarray of shape (n_screens,)
            Expected gains in utility, none of them negative, in the order in which the
            screens first come in ``choice_set``.

        See Also
        --------
        suggest_queries : Screens whose answers tell most about all offers.

        Notes
        -----
        This is the knowledge gradient of Frazier, Powell & Dayanik. The model is
        adapted to each possible choice, and the probabilities of the choices are those
        that it predicts. Before the first answer, it is an average over the prior.
        Half-lives are left aside: the question does not make earlier answers older.

        References
        ----------
        P. I. Frazier, W. B. Powell, S. Dayanik, "The Knowledge-Gradient Policy for
        Correlated Normal Beliefs", INFORMS Journal on Computing 21(4), 2009.
        """  # noqa: E501 (a type takes one line)
        if choice_set is None:
            raise ValueError(
                "expected_gain needs choice_set, the screen of each offer of the pool. "
                "If the pool is one screen, pass choice_set=[0] * len(pool)."
            )
        check_aligned(pool=pool, choice_set=choice_set)
        check_is_fitted(self)
        pool = validate_new_rows(self, pool)
        check_not_far(pool, self._scaling)
        sets, _ = in_order_given(choice_set, pool.shape[0], "pool")
        packed, _ = self._packed(pool, shelves_of(sets), self._base_offset(pool))
        X = pool if shelf is None else validate_new_rows(self, shelf)
        check_not_far(X, self._scaling, "shelf")
        offers, offset = self._columns_of(X), self._offsets(X)
        return self._gains_of(
            self._learned.design(packed.X),
            packed.offset,
            deciding.Shelf(offers, offset[:, 0], np.ones(1)),
        )

    def _offsets(self, X):
        offset = self._base_offset(X)
        return np.zeros((X.shape[0], 1)) if offset is None else offset

    def _keep_answers(self, before, offers, order):
        """Keep which choice set each event of the present state belongs to.

        ``before`` is the state before these ``offers``, which are given as the user
        has ordered them, and ``order`` the order of those that tell something.
        """
        sets, n_sets = in_order_given(offers["set"], len(offers))
        events = events_of(offers[order], self._targets.outside)
        of_event = sets[order][events.index.max(axis=1)]
        grouped = Grouped.after(before, of_event, n_sets)
        self._present = self._present._replace(answers=grouped)


def in_order_given(labels, n_rows, of="X"):
    """Numbers (n,) of the labels in the order in which they come, and how many."""
    labels = check_task_ids(labels, n_rows, "choice_set", of)
    numbers, names = group(labels)
    first = np.full(len(names), n_rows)
    np.minimum.at(first, numbers, np.arange(n_rows))
    place = np.empty(len(names), dtype=np.intp)
    place[np.argsort(first)] = np.arange(len(names))
    return place[numbers], len(names)


class DecidesByCounts(DecidesByOutcomes):
    """The same of a model of counts."""

    @before_adapting
    def sample_y(self, X, n=1, random_state=None, *, exposure=1.0):
        """Draw counts of new rows from the predictive distribution.

        The rows of a draw belong to one task: they have the same coefficients. Each row
        varies by itself as a Poisson distribution does, and by ``overdispersion_``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows to draw counts of.
        n : int, default=1
            Number of draws.
        random_state : int, RandomState instance or None, default=None
            Source of the draws. An int gives the same draws each time.
        exposure : float or array-like of shape (n_samples,), default=1.0
            Exposures that the counts are for.

        Returns
        -------
        y : ndarray of shape (n, n_samples)
            Whole counts.
        """
        X = self._validate_new(X)
        check_n_draws(n)
        exposure = _check_sample_weight(exposure, X, ensure_non_negative=True)
        rng = check_random_state(random_state)
        return self._draw(X, n, rng, exposure=exposure)[..., 0]

    def _utility(self):
        return deciding.expected_rates(self._learned)
