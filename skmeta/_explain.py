"""Why a model predicts what it does: a prediction as a sum of parts."""

from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skmeta import _task_input
from skmeta._checks.values import show
from skmeta._core.prior.explain import origins
from skmeta._linear_part import linear_names, n_linear

BASE, EARLIER, LEARNED = "base model", "earlier answers", "learned features"


class Explanation:
    """Predictions for some rows, as sums of parts in two ways; see ``explain``.

    By source: what was expected before any answer, and what each answer added. By
    feature: the prediction at a reference row, and what each feature adds where a row
    differs from it. :meth:`table` has both ways at once for one row.

    Attributes
    ----------
    total : ndarray of shape (n_samples,)
        What both kinds of parts sum to.
    scale : str
        What the numbers are: "y", "log-odds", "log rate" or "utility".
    labels : ndarray of shape (n_samples,) or None
        The class whose log-odds are explained, of a classifier.
    source_names : list of str
        "prior" is what is expected of a new task. "base model" is there if the model
        has one. "earlier answers" are those that are not known one by one, taken
        together. "answer 1" is the first row that the model was adapted to, or the
        first that is still known.
    by_source : ndarray of shape (n_samples, n_sources)
        Parts of the predictions, which sum to ``total``.
    feature_names : list of str
        "reference" is the prediction at the reference row. The features follow, and
        "learned features" all together and "base model", if there are any.
    by_feature : ndarray of shape (n_samples, 1 + n_features)
        Parts of the predictions, which sum to ``total`` as well.
    n_answers : int
        Number of answers that are known one by one.
    answers : ndarray of shape (n_samples, n_answers)
        The columns of ``by_source`` that belong to them.

    See Also
    --------
    skmeta.inspection.ExplanationDisplay : Draws it.
    """

    def __init__(self, parts, source_names, feature_names, scale, labels, n_answers):
        self._parts = parts
        self.source_names, self.by_source = source_names, parts.by_source()
        self.feature_names, self.by_feature = feature_names, parts.by_feature()
        self.total, self.scale, self.labels = parts.total(), scale, labels
        self.n_answers, self._index = n_answers, None

    @property
    def answers(self):
        """What each known answer added: (n_samples, n_answers)."""
        return self.by_source[:, self.by_source.shape[1] - self.n_answers :]

    def table(self, row=0):
        """What each source added through each feature, for one row.

        Parameters
        ----------
        row : int, default=0
            Number of the row.

        Returns
        -------
        table : ndarray of shape (n_sources, 1 + n_features)
            Its rows sum to ``by_source``, and its columns to ``by_feature``.
        """
        n = len(self.total)
        if not -n <= row < n:
            raise ValueError(
                f"row={row!r}, but {n} rows are explained: give a number from 0 to "
                f"{n - 1}."
            )
        return self._parts.table(row % n)

    def _rescaled(self, factor, level, scale):
        """The same parts in other units: ``factor`` times the sum, plus ``level``."""
        parts = self._parts.rescaled(factor, level)
        names = self.source_names, self.feature_names
        found = Explanation(parts, *names, scale, self.labels, self.n_answers)
        found._index = self._index
        return found

    def _with_features(self, names):
        """The same with other names of the features of X."""
        n = len(names)
        names = [self.feature_names[0], *names, *self.feature_names[1 + n :]]
        what = self.scale, self.labels, self.n_answers
        found = Explanation(self._parts, self.source_names, names, *what)
        found._index = self._index
        return found

    def _with_index_of(self, X):
        """The same with the names that the rows of X have, if it is a DataFrame."""
        if hasattr(X, "iloc"):
            self._index = X.index
        return self

    def to_frame(self, by="source", row=None):
        """The parts as a pandas DataFrame.

        Parameters
        ----------
        by : {"source", "feature"}, default="source"
            Which parts are the columns; there is one row for each row explained, with
            the index of X if that was a DataFrame.
        row : int, default=None
            Number of a row. If given, the frame is :meth:`table` of this row, with a
            row for each source and a column for each feature.

        Returns
        -------
        frame : pandas.DataFrame
            With a last column "total".

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError(
                "to_frame needs pandas (pip install pandas). Without it, the parts are "
                "in `by_source`, `by_feature` and `table(row)`."
            ) from error
        if row is not None:
            table = self.table(row)
            frame = pd.DataFrame(table, self.source_names, self.feature_names)
            frame.insert(frame.shape[1], "total", table.sum(axis=1), True)
            return frame
        if by not in ("source", "feature"):
            raise ValueError(f"by must be 'source' or 'feature'; got {by!r}.")
        names, parts = getattr(self, f"{by}_names"), getattr(self, f"by_{by}")
        frame = pd.DataFrame(parts, self._index, names)
        frame.insert(frame.shape[1], "total", self.total, True)
        return frame

    def __repr__(self):
        n, k = len(self.total), self.n_answers
        return f"<Explanation of {n} rows ({self.scale}), {k} answers known>"


class Parts(NamedTuple):
    """The parts of a linear model's outputs at some rows; o outputs, p columns."""

    coefs: np.ndarray  # (s, o, p) of each source, in the units of y
    present: np.ndarray  # (o, p), the sum of these
    level: float  # what is added to the first source
    rows: np.ndarray  # (n, p) columns of the design
    start: np.ndarray  # (p,) those of the reference
    n_learned: int  # so many of the first columns are learned features
    n_columns: int  # further columns than these are the intercept's
    base: np.ndarray | None  # (n, o)
    which: np.ndarray  # (n,) the output to explain
    sign: np.ndarray  # (n,) and the sign to give it

    def rescaled(self, factor, level):
        """The parts in other units, with a level added to the first of them."""
        base = None if self.base is None else factor * self.base
        return self._replace(
            coefs=factor * self.coefs,
            present=factor * self.present,
            level=factor * self.level + level,
            base=base,
        )

    def of_output(self, coefs):
        """Coefficients (..., o, p) of the output of each row: (..., n or 1, p)."""
        one = (self.which == self.which[:1]).all()
        return coefs[..., self.which[:1] if one else self.which, :]

    @property
    def base_part(self):
        """What the base model contributes (n, 1), or nothing (n, 0)."""
        n = len(self.rows)
        if self.base is None:
            return np.zeros((n, 0))
        return self.base[np.arange(n), self.which][:, None]

    def total(self):
        """What all parts sum to (n,)."""
        found = (self.rows * self.of_output(self.present)).sum(axis=1) + self.level
        return self.sign * (found + self.base_part.sum(axis=1))

    def by_source(self):
        """The prior, the base model if there is one, and the others: (n, sources)."""
        coefs = self.of_output(self.coefs)
        if coefs.shape[1] == 1:
            found = self.rows @ coefs[:, 0].T
        else:
            found = np.einsum("np,snp->ns", self.rows, coefs)
        found[:, 0] += self.level
        found = np.hstack([found[:, :1], self.base_part, found[:, 1:]])
        return self.sign[:, None] * found

    def by_feature(self):
        """The reference, the features, and the base model if there is one."""
        coefs = self.of_output(self.present)
        at_start = (coefs * self.start).sum(axis=1) + self.level
        at_start = np.broadcast_to(at_start, len(self.rows))
        found = self.through_features(coefs, self.rows)
        found = np.column_stack([at_start, found, self.base_part])
        return self.sign[:, None] * found

    def through_features(self, coefs, rows):
        """What features add (n, features) where rows differ from the reference."""
        added = ((rows - self.start) * coefs)[..., : self.n_columns]
        if self.n_learned == 0:
            return added
        learned = added[..., : self.n_learned].sum(axis=-1, keepdims=True)
        return np.concatenate([added[..., self.n_learned :], learned], axis=-1)

    def table(self, row):
        """What each source added through each feature: (sources, 1 + features)."""
        coefs, base = self.coefs[:, self.which[row]], self.base_part[row]
        at_start = coefs @ self.start
        at_start[0] += self.level
        table = np.column_stack(
            [at_start, self.through_features(coefs, self.rows[row])]
        )
        if len(base):
            table = np.insert(np.pad(table, ((0, 0), (0, 1))), 1, 0.0, axis=0)
            table[1, -1] = base[0]
        return self.sign[row] * table


class ExplainsPredictions:
    """The verb `explain` of a model that keeps a `LearnedPrior`."""

    _scale_of_parts = "y"

    def explain(self, X, *, reference=None):
        """Explain predictions as sums of parts.

        By source: what the expectation of all tasks says, what the base model says, and
        what each answer added, an answer being a row that the model is adapted to. By
        feature: the prediction at a reference row, and what each feature adds where
        rows differ from it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows whose predictions are to be explained.
        reference : array-like of shape (n_features,), default=None
            The row that features are compared with, such as another offer. By default
            it is the mean of all rows of the meta-training, or zero if
            ``fit_intercept`` is False.

        Returns
        -------
        explanation : Explanation
            Its ``by_source`` and ``by_feature`` sum to its ``total``.

        Notes
        -----
        The parts of a regressor sum to :meth:`predict`, exactly. The coefficients are
        those of the prior, plus a sum over the answers: an answer moves them by how far
        it is from what the prior expects, times a gain that depends on all rows given.
        An answer that was expected moves nothing.

        In a model of counts the parts sum to X times ``coef_`` plus ``intercept_``,
        which is the logarithm of a rate, before anything is averaged over what is
        uncertain. There the parts of answers are those of Aumann and Shapley: the
        weights of all answers grow together from nothing to what they are, and what
        each of them moves on the way is its part.

        The latest 256 answers are known one by one, and the others together as
        "earlier answers". So are all answers if the model was adapted to
        :class:`~skmeta.TaskStatistics`, or comes from a :class:`~skmeta.TaskBank` that
        keeps sums.
        """
        return self._explained(X, reference)

    def _explained(self, given, reference, **how):
        X, reference = self._validate_new(given), self._reference_row(reference)
        model = self
        if not self.n_adapt_rows_:  # another model may predict before adapting
            model = getattr(self, "zero_shot_model_", self)
        names = linear_names(self)
        if names is None:
            names = [f"feature {j}" for j in range(X.shape[1])]
        found = explained(model, X, reference, list(map(str, names)), **how)
        return found._with_index_of(given)

    def _reference_row(self, reference):
        """The reference as a validated row (1, n_features), or None."""
        if reference is None:
            return None
        if np.ndim(reference) == 2:
            row = _task_input.validate_new_rows(self, reference)
        else:
            row = _numbers(reference).reshape(1, -1)
        if (
            row.shape != (1, n_linear(self))
            or not np.isfinite(row.data if hasattr(row, "indptr") else row).all()
        ):
            raise ValueError(
                f"reference must be one row of {self.n_features_in_} finite numbers; "
                f"got {show(reference)}."
            )
        return row

    def _outputs_to_explain(self, X, n_outputs):
        """The number of the output explained for each row, its sign, and labels."""
        n = X.shape[0]
        return np.zeros(n, dtype=np.intp), np.ones(n), None


class ExplainsLabels(ExplainsPredictions):
    """The same of a classifier."""

    _scale_of_parts = "log-odds"

    def explain(self, X, *, reference=None, label=None):
        """Explain log-odds as sums of parts.

        By source: what the expectation of all tasks says, what the base model says, and
        what each answer added, an answer being a row that the model is adapted to. By
        feature: the log-odds at a reference row, and what each feature adds where rows
        differ from it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows whose predictions are to be explained.
        reference : array-like of shape (n_features,), default=None
            The row that features are compared with, such as another offer. By default
            it is the mean of all rows of the meta-training, or zero if
            ``fit_intercept`` is False.
        label : label, default=None
            The class to explain. By default it is ``classes_[1]`` if there are two
            classes, and otherwise the class that is predicted for each row.

        Returns
        -------
        explanation : Explanation
            Its ``by_source`` and ``by_feature`` sum to its ``total``.

        Notes
        -----
        The parts sum to X times ``coef_`` plus ``intercept_``, and the log-odds of the
        base model if there is one. With more than two classes these are the scores of
        the class less the mean of those of all classes. :meth:`decision_function` also
        averages over what is uncertain, which draws log-odds towards zero.

        The parts of answers are those of Aumann and Shapley: the weights of all answers
        grow together from nothing to what they are, and what each of them moves on the
        way is its part. So the parts sum to what all answers changed together. To first
        order, an answer's part is also what would change without it.

        The latest 256 answers are known one by one, and the others together as
        "earlier answers".

        References
        ----------
        R. J. Aumann, L. S. Shapley, "Values of Non-Atomic Games", 1974.
        """
        check_is_fitted(self)
        if label is not None and label not in list(self.classes_):
            raise ValueError(
                f"label must be one of the classes {list(self.classes_)}; got "
                f"{show(label)}."
            )
        return self._explained(X, reference, label=label)

    def _outputs_to_explain(self, X, n_outputs, label=None):
        n, classes = X.shape[0], self.classes_
        if len(classes) < 2:
            raise ValueError(
                f"This {type(self).__name__} knows the class {classes.tolist()} only, "
                "so that there is nothing to explain."
            )
        if label is not None:
            place = np.full(n, list(classes).index(label))
        elif n_outputs == 1:
            place = np.ones(n, dtype=np.intp)
        else:
            place = np.searchsorted(classes, self.predict(X))
        if n_outputs == 1:
            return np.zeros(n, dtype=np.intp), 2.0 * place - 1.0, classes[place]
        return place, np.ones(n), classes[place]


# -- from a model to the parts --------------------------------------------------------


def _numbers(row):
    """The numbers of a row, or none if it holds anything else."""
    try:
        return np.asarray(row, dtype=float)
    except (TypeError, ValueError):
        return np.zeros(0)


def explained(model, X, reference, names, **how):
    """The `Explanation` of a model for validated rows X and a reference, or None."""
    learned, design = model._learned, model._learned.design
    which, sign, labels = model._outputs_to_explain(X, learned.n_outputs, **how)
    found = origins(learned, model._present)
    source_names, feature_names = ["prior"], ["reference", *names]
    if design.n_learned:
        feature_names.append(LEARNED)
    base = _base_of(model, X)
    if base is not None:
        source_names.append(BASE)
        feature_names.append(BASE)
    if found.earlier is not None:
        source_names.append(EARLIER)
    n_answers = len(found.answers)
    source_names += [f"answer {i + 1}" for i in range(n_answers)]
    parts = _parts_at(model, X, reference, found)
    parts = parts._replace(base=base, which=which, sign=sign)
    scale = model._scale_of_parts
    return Explanation(parts, source_names, feature_names, scale, labels, n_answers)


def _parts_at(model, X, reference, found):
    """The `Parts` of the first output, by the `Origins` of the coefficients."""
    learned, scaling = model._learned, model._scaling
    design, n = learned.design, X.shape[0]
    present = learned.predicting(model._present).mean
    earlier = [] if found.earlier is None else [found.earlier[None]]
    coefs = [present[None], found.start[None], *earlier, found.answers]
    coefs = scaling.y_scale * np.concatenate(coefs)
    coefs = coefs.reshape(len(coefs), learned.n_outputs, -1)
    if learned.n_outputs > 1:  # only differences of classes matter
        coefs = coefs - coefs.mean(axis=1, keepdims=True)
    if reference is None:
        start = np.zeros((1, design.n_features))
    else:
        start = scaling.transform_X(reference)
    return Parts(
        coefs[1:],
        coefs[0],
        scaling.y_mean,
        design(scaling.transform_X(X)),
        design(start)[0],
        design.n_learned,
        design.n_learned + design.n_features,
        None,
        np.zeros(n, dtype=np.intp),
        np.ones(n),
    )


def _base_of(model, X):
    """What the base model says of validated X, as outputs (n, o), or None."""
    base = model._offset(X)
    base = model._base_offset(X) if base is None else base
    if base is not None and base.shape[1] > 1:  # only differences of classes matter
        base = base - base.mean(axis=1, keepdims=True)
    return base
