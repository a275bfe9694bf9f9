"""Figures of how models adapt, and of what they have learned."""

import numpy as np
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.validation import check_is_fitted

from skmeta._compositions import (
    meta_learner,
    original_targets,
    transformed_names,
    transformed_rows,
    transforms_targets,
)
from skmeta._explain import Explanation
from skmeta._linear_part import n_linear
from skmeta.adaptation import adapt
from skmeta.few_shot import BaseFewShot

__all__ = [
    "AdaptationDisplay",
    "Explanation",
    "ExplanationDisplay",
    "FewShotCurveDisplay",
    "PriorDisplay",
    "explain",
]

GIVEN = "{}s of a new task"


def _axes(ax, verb):
    """Axes to draw on, and their figure."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{verb} needs matplotlib (pip install matplotlib)."
        ) from error
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
    return ax, ax.figure


# -- score against rows given ---------------------------------------------------------


class FewShotCurveDisplay:
    """Score on new tasks against the number of rows given, with baselines.

    Made by :meth:`from_comparison`, or by ``plot()`` of the comparison.

    Parameters
    ----------
    comparison : BaselineComparison
        Result of :func:`~skmeta.model_selection.compare_baselines`.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.
    lines_ : dict of str to matplotlib Line2D
        The curve of each model.
    bands_ : dict of str to matplotlib PolyCollection
        95 % interval of the mean over tasks, of each meta-learner.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skmeta import EmpiricalBayesRegressor
    >>> from skmeta.datasets import make_linear_tasks
    >>> from skmeta.inspection import FewShotCurveDisplay
    >>> from skmeta.model_selection import compare_baselines
    >>> tasks = make_linear_tasks(30, n_samples=12, random_state=0)
    >>> X, y = (np.concatenate(part) for part in zip(*tasks))
    >>> comparison = compare_baselines(
    ...     EmpiricalBayesRegressor(random_state=0),
    ...     X,
    ...     y,
    ...     task=np.repeat(np.arange(30), 12),
    ...     n_support=(0, 1, 5),
    ...     baselines=["pooled model", "own model"],
    ...     pooled=Ridge(),
    ...     cv=3,
    ... )
    >>> list(FewShotCurveDisplay.from_comparison(comparison).lines_)
    ['EmpiricalBayesRegressor', 'pooled model', 'own model']
    """

    def __init__(self, comparison):
        self.comparison = comparison

    @classmethod
    def from_comparison(cls, comparison, *, ax=None):
        """Plot a comparison that has been made.

        Parameters
        ----------
        comparison : BaselineComparison
            Result of :func:`~skmeta.model_selection.compare_baselines`.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : FewShotCurveDisplay
            The display, plotted.
        """
        return cls(comparison).plot(ax=ax)

    def plot(self, ax=None):
        """Plot the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : FewShotCurveDisplay
            The display itself.
        """
        self.ax_, self.figure_ = _axes(ax, "FewShotCurveDisplay")
        found = self.comparison
        sign = -1 if found.is_error else 1
        place = np.arange(len(found.n_support))  # a logarithmic axis has no 0
        self.lines_, self.bands_ = {}, {}
        styles = ("o-", "o--", "o-.")
        for name in found.scores:
            mean = sign * found.mean(name)
            ours = name in found.meta_learners
            style = styles[len(self.bands_) % 3] if ours else "s:"
            look = {"lw": 2.4, "zorder": 3} if ours else {"lw": 1.3, "ms": 4}
            (line,) = self.ax_.plot(place, mean, style, label=name, **look)
            self.lines_[name] = line
            if ours:
                half = found.half_width(name)
                self.bands_[name] = self.ax_.fill_between(
                    place, mean - half, mean + half, color=line.get_color(), alpha=0.15
                )
        self.ax_.set_xticks(place, found.n_support)
        self.ax_.set(
            xlabel=GIVEN.format(found.unit), ylabel=f"{found.metric}, mean over tasks"
        )
        self.ax_.legend()
        return self


# -- one task before and after --------------------------------------------------------


class AdaptationDisplay:
    """Prediction for one task before and after it gives some rows, along one feature.

    Made by :meth:`from_estimator`.

    Parameters
    ----------
    grid : ndarray of shape (n_points,)
        Values of the feature.
    before, after : ndarray of shape (n_points,)
        Predictions at these values, of the learned start and after adapting.
    X_given, y_given : ndarray of shape (n_given,)
        The feature and the targets of the rows given.
    X_other, y_other : ndarray of shape (n_other,)
        The feature and the targets of the task's other rows.
    interval : ndarray of shape (n_points, 2) or None
        Lower and upper ends of the prediction interval after adapting.
    feature_name : str
        Label of the horizontal axis.
    target_name : str
        Label of the vertical axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.
    lines_ : list of matplotlib Line2D
        The curves before and after.
    band_ : matplotlib PolyCollection or None
        The interval.

    Examples
    --------
    >>> from skmeta import EmpiricalBayesRegressor
    >>> from skmeta.datasets import make_linear_tasks
    >>> from skmeta.inspection import AdaptationDisplay
    >>> *tasks, (X, y) = make_linear_tasks(30, n_features=1, random_state=0)
    >>> model = EmpiricalBayesRegressor(random_state=0).meta_fit(tasks)
    >>> display = AdaptationDisplay.from_estimator(model, X, y, n_support=5)
    >>> display.X_given.shape, display.X_other.shape
    ((5,), (15,))
    """

    def __init__(
        self,
        *,
        grid,
        before,
        after,
        X_given,
        y_given,
        X_other,
        y_other,
        interval=None,
        feature_name="feature 0",
        target_name="prediction",
    ):
        self.grid = grid
        self.before, self.after = before, after
        self.X_given, self.y_given = X_given, y_given
        self.X_other, self.y_other = X_other, y_other
        self.interval = interval
        self.feature_name = feature_name
        self.target_name = target_name

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y,
        *,
        feature=0,
        n_support=None,
        coverage=0.9,
        grid_resolution=100,
        x_range=None,
        ax=None,
    ):
        """Adapt to rows of a task and plot.

        Parameters
        ----------
        estimator : estimator
            Meta-trained meta-learner, or a composition that :func:`skmeta.adapt` takes.
        X : {array-like, dataframe} of shape (n_samples, n_features)
            Rows of one task. Columns of a DataFrame may hold text.
        y : array-like of shape (n_samples,)
            Their targets; of a classifier, labels of two classes.
        feature : int or str, default=0
            Number or name of the feature on the horizontal axis, which must hold
            numbers. Other features of numbers stay at their medians over X, and
            features of text at their most frequent value.
        n_support : int, default=None
            The model adapts to so many of the first rows; None means all. The other
            rows are drawn as hollow points.
        coverage : float or None, default=0.9
            Coverage of the prediction interval, which is drawn if the model gives
            intervals. None draws no interval.
        grid_resolution : int, default=100
            Number of points along the feature.
        x_range : tuple (low, high), default=None
            Range of the feature; None means the range in X.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : AdaptationDisplay
            The display, plotted.
        """
        _check_predicts_targets(estimator)
        names = getattr(X, "columns", None)
        if names is None:
            X = check_array(X, dtype=float)
        column, name = _find_feature(feature, names, X.shape[1])
        n_rows = X.shape[0]
        n = n_rows if n_support is None else n_support
        if not 1 <= n <= n_rows:
            raise ValueError(
                f"n_support={n_support!r}, but the task has {n_rows} rows: give a "
                f"number from 1 to {n_rows}, or None for all of them."
            )
        values = _numeric(X, column, name)
        low, high = x_range or (values.min(), values.max())
        grid = np.linspace(low, high, grid_resolution)
        rows = _rows_along(X, column, grid)
        y = column_or_1d(y)
        adapted = adapt(estimator, X[:n], y[:n])
        response, label = _response(adapted)
        interval = None
        if coverage is not None and hasattr(adapted, "predict_interval"):
            interval = adapted.predict_interval(rows, coverage=coverage)
        elif coverage is not None and _gives_intervals(adapted):
            inner = meta_learner(adapted, "AdaptationDisplay")
            interval = inner.predict_interval(
                transformed_rows(adapted, rows), coverage=coverage
            )
        y = _numbers(adapted, y)
        display = cls(
            grid=grid,
            before=response(estimator, rows),
            after=response(adapted, rows),
            X_given=values[:n],
            y_given=y[:n],
            X_other=values[n:],
            y_other=y[n:],
            interval=interval,
            feature_name=name,
            target_name=label,
        )
        return display.plot(ax=ax)

    def plot(self, ax=None):
        """Plot the curves and the task's rows.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : AdaptationDisplay
            The display itself.
        """
        self.ax_, self.figure_ = _axes(ax, "AdaptationDisplay")
        n = len(self.X_given)
        (before,) = self.ax_.plot(
            self.grid, self.before, "--", color="0.55", label="before"
        )
        rows = "1 row" if n == 1 else f"{n} rows"
        (after,) = self.ax_.plot(
            self.grid, self.after, color="C0", lw=2, label=f"after {rows}"
        )
        self.lines_, self.band_ = [before, after], None
        if self.interval is not None:
            self.band_ = self.ax_.fill_between(
                self.grid, *self.interval.T, color="C0", alpha=0.15, label="interval"
            )
        self.ax_.plot(
            self.X_other, self.y_other, "o", mfc="none", mec="0.4", ms=4, label="others"
        )
        self.ax_.plot(self.X_given, self.y_given, "o", color="C3", label="given")
        self.ax_.set(xlabel=self.feature_name, ylabel=self.target_name)
        self.ax_.legend()
        return self


def _check_predicts_targets(estimator):
    """Refuse a model whose predictions cannot be drawn beside the rows' targets."""
    inner = meta_learner(estimator, "AdaptationDisplay")
    if not inner._predicts_targets:
        raise TypeError(
            f"AdaptationDisplay draws predictions of y, and {type(inner).__name__} "
            "predicts utilities, which have no y to lie near. Draw ExplanationDisplay "
            "of an adapted model, or PriorDisplay."
        )


def _find_feature(feature, names, n_features):
    """Number and label of a feature."""
    if isinstance(feature, str):
        if names is None or feature not in list(names):
            known = "X has no column names" if names is None else f"X has {list(names)}"
            raise ValueError(f"feature={feature!r}, but {known}.")
        return list(names).index(feature), feature
    if not 0 <= feature < n_features:
        raise ValueError(
            f"feature={feature!r}, but X has {n_features} features: give a number from "
            f"0 to {n_features - 1}, or a column's name."
        )
    return feature, f"feature {feature}" if names is None else str(names[feature])


def _numeric(X, column, name):
    """A column as numbers."""
    try:
        return np.asarray(_column(X, column), dtype=float)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name!r} holds no numbers, but a curve is drawn along numbers. Name "
            "another column: feature=..."
        ) from None


def _column(X, column):
    return X[X.columns[column]] if hasattr(X, "columns") else X[:, column]


def _rows_along(X, column, grid):
    """Rows like those of X that differ in one column only."""
    columns = [
        grid if j == column else np.repeat(_typical(_column(X, j)), len(grid))
        for j in range(X.shape[1])
    ]
    if not hasattr(X, "columns"):
        return np.column_stack(columns)
    return type(X)(dict(zip(X.columns, columns, strict=True)))


def _typical(values):
    """The median of numbers, or the most frequent value of text."""
    values = np.asarray(values)
    if values.dtype.kind in "iuf":
        return np.median(values)
    found, counts = np.unique(values.astype(str), return_counts=True)
    return values[values.astype(str) == found[counts.argmax()]][0]


def _response(adapted):
    """Function (model, X) of what to draw, and its label."""
    if not hasattr(adapted, "predict_proba"):
        return lambda model, X: np.asarray(model.predict(X)).ravel(), "prediction"
    if len(adapted.classes_) != 2:
        raise ValueError(
            f"AdaptationDisplay draws the probability of one of two classes; there are "
            f"{len(adapted.classes_)}."
        )
    label = f"probability of {adapted.classes_[1]}"
    return lambda model, X: model.predict_proba(X)[:, 1], label


def _gives_intervals(adapted):
    """Whether the meta-learner inside gives intervals in the user's units of y."""
    inner = meta_learner(adapted, "AdaptationDisplay")
    return hasattr(inner, "predict_interval") and not transforms_targets(adapted)


def _numbers(adapted, y):
    """Targets, or 1 for labels of the second class."""
    if hasattr(adapted, "classes_"):
        return (y == adapted.classes_[1]).astype(float)
    return y.astype(float)


# -- what was learned -----------------------------------------------------------------


class PriorDisplay:
    """The learned prior: coefficients of a new task, and how far they may differ.

    Made by :meth:`from_estimator`.

    Parameters
    ----------
    coefficients : ndarray of shape (n_outputs, n_features)
        Expected coefficients of a new task.
    spread : ndarray of shape (n_outputs, n_features)
        Standard deviation of each coefficient between tasks.
    feature_names : list of str
        Names of the features.
    output_names : list of str
        Names of the outputs: the classes, or y.
    scaled : bool
        Whether coefficients and spreads are per standard deviation of the feature.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.
    errorbars_ : list of matplotlib ErrorbarContainer
        The points and bars of each output.

    Examples
    --------
    >>> from skmeta import EmpiricalBayesRegressor
    >>> from skmeta.datasets import make_linear_tasks
    >>> from skmeta.inspection import PriorDisplay
    >>> tasks = make_linear_tasks(120, spread=[0, 0, 1, 1, 2], random_state=0)
    >>> model = EmpiricalBayesRegressor(random_state=0).meta_fit(tasks)
    >>> PriorDisplay.from_estimator(model, scaled=False).spread.round()
    array([[0., 0., 1., 1., 2.]])
    """

    def __init__(
        self, *, coefficients, spread, feature_names, output_names, scaled=True
    ):
        self.coefficients, self.spread = coefficients, spread
        self.feature_names, self.output_names = feature_names, output_names
        self.scaled = scaled

    @classmethod
    def from_estimator(cls, estimator, *, scaled=True, feature_names=None, ax=None):
        """Plot the prior of a meta-trained empirical Bayes model.

        Parameters
        ----------
        estimator : estimator
            :class:`~skmeta.EmpiricalBayesRegressor`,
            :class:`~skmeta.EmpiricalBayesClassifier`, or a composition that holds one.
        scaled : bool, default=True
            Whether to show coefficients per standard deviation of a feature, so that
            they can be compared; False shows them in your units.
        feature_names : sequence of str, default=None
            Names of the features; None takes the names seen in meta-training.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : PriorDisplay
            The display, plotted.

        Raises
        ------
        TypeError
            If the model has learned no prior distribution of linear coefficients.
        """
        model = meta_learner(estimator, "PriorDisplay")
        coefficients, spread, unit, outputs = _learned_prior(model)
        if scaled:
            coefficients, spread = coefficients * unit, spread * unit
        if feature_names is None:
            feature_names = _feature_names(estimator, model)
        if len(feature_names) != coefficients.shape[1]:
            raise ValueError(
                f"feature_names has {len(feature_names)} names, but the model has "
                f"{coefficients.shape[1]} features."
            )
        return cls(
            coefficients=coefficients,
            spread=spread,
            feature_names=list(feature_names),
            output_names=outputs,
            scaled=scaled,
        ).plot(ax=ax)

    def plot(self, ax=None):
        """Plot coefficients as points, and the spread between tasks as bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : PriorDisplay
            The display itself.
        """
        self.ax_, self.figure_ = _axes(ax, "PriorDisplay")
        n_outputs, n_features = self.coefficients.shape
        shift = 0.6 / n_outputs * (np.arange(n_outputs) - (n_outputs - 1) / 2)
        self.errorbars_ = []
        for output, name in enumerate(self.output_names):
            # 90 % of the tasks lie within 1.645 deviations on either side.
            bars = self.ax_.errorbar(
                self.coefficients[output],
                np.arange(n_features) + shift[output],
                xerr=1.645 * self.spread[output],
                fmt="o",
                lw=5 / np.sqrt(n_outputs),
                ecolor=f"C{output}",
                color=f"C{output}",
                mec="white",
                label=name,
                alpha=0.9,
            )
            self.errorbars_.append(bars)
        self.ax_.axvline(0, color="0.7", lw=1, zorder=0)
        self.ax_.set_yticks(np.arange(n_features), self.feature_names)
        self.ax_.set_ylim(n_features - 0.5, -0.5)
        unit = " per standard deviation" if self.scaled else ""
        self.ax_.set(
            xlabel=f"coefficient{unit}\n(a new task's expectation, and 90 % of tasks)"
        )
        if n_outputs > 1:
            self.ax_.legend()
        return self


def _learned_prior(model):
    """Slopes, their deviations between tasks, scales of X, and names of the outputs."""
    if not hasattr(model, "_prior_summary"):
        raise TypeError(
            f"{type(model).__name__} learns where a task starts, but no distribution "
            "of its coefficients. PriorDisplay takes an EmpiricalBayesRegressor or "
            "EmpiricalBayesClassifier."
        )
    check_is_fitted(model)
    return model._prior_summary()


def _feature_names(estimator, model):
    """Names of the meta-learner's features, or numbers if the names are not known."""
    names, n = transformed_names(estimator), n_linear(model)
    if names is None or len(names) != n:
        return [f"x{i}" for i in range(n)]
    return list(names)


# -- reasons --------------------------------------------------------------------------


def explain(estimator, X, *, reference=None, **options):
    """Explain predictions of a meta-learner, or of a composition with one inside.

    Parameters
    ----------
    estimator : estimator
        Meta-trained, and usually adapted: an empirical Bayes model, or a Pipeline, a
        search, a FrozenEstimator or a TransformedTargetRegressor with one inside.
    X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
        Rows as they go into ``estimator.predict``.
    reference : {array-like, dataframe} of shape (1, n_features), default=None
        The row that features are compared with, as it goes into ``estimator.predict``.
        By default it is the mean of all rows of the meta-training, as they reach the
        meta-learner.
    **options : dict
        Further arguments of the meta-learner's ``explain``, such as ``label``.

    Returns
    -------
    explanation : Explanation
        The parts; see :meth:`skmeta.EmpiricalBayesRegressor.explain`. Inside a Pipeline
        the features are those that reach the meta-learner.

    Notes
    -----
    Inside a TransformedTargetRegressor the parts are in the units of y if the
    transformation only changes units. Otherwise they sum to what is predicted before it
    is transformed back, and ``scale`` is "transformed y".

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skmeta import EmpiricalBayesRegressor, adapt, meta_fit
    >>> from skmeta.datasets import make_linear_tasks
    >>> from skmeta.inspection import explain
    >>> *tasks, (X, y) = make_linear_tasks(30, random_state=0)
    >>> pipe = make_pipeline(StandardScaler(), EmpiricalBayesRegressor(random_state=0))
    >>> adapted = adapt(meta_fit(pipe, tasks), X[:2], y[:2])
    >>> explain(adapted, X[2:]).source_names
    ['prior', 'answer 1', 'answer 2']
    """
    if isinstance(estimator, BaseFewShot):
        check_is_fitted(estimator)
        estimator = estimator.estimator_
    inner = meta_learner(estimator, "explain")
    if not hasattr(inner, "explain"):
        raise TypeError(
            f"explain needs a linear model with a learned prior, such as "
            f"EmpiricalBayesRegressor; {type(inner).__name__} has no such parts."
        )
    check_is_fitted(inner)
    if estimator is inner:
        return inner.explain(X, reference=reference, **options)
    if reference is not None:
        reference = transformed_rows(estimator, _as_table(reference))
    found = inner.explain(
        transformed_rows(estimator, X), reference=reference, **options
    )
    names = transformed_names(estimator)
    if names is not None:
        found = found._with_features(list(map(str, names)))
    if transforms_targets(estimator):
        found = _in_units_of_y(estimator, found)
    return found._with_index_of(X)


def _as_table(row):
    return row if np.ndim(row) == 2 else np.reshape(np.asarray(row), (1, -1))


# A transformation that is a straight line up to this share only changes units.
STRAIGHT = 1e-10


def _in_units_of_y(estimator, found):
    """An `Explanation` in the units of y, if transforming back only changes units."""
    seen = np.concatenate([found.by_source[:, 0], found.total])
    low, high = seen.min(), seen.max()
    grid = np.linspace(low, high if high > low else low + 1.0, 9)
    y = original_targets(estimator, grid)
    slope = (y[-1] - y[0]) / (grid[-1] - grid[0])
    line = y[0] + slope * (grid - grid[0])
    if np.abs(y - line).max() > STRAIGHT * np.abs(y).max():
        return found._rescaled(1.0, 0.0, "transformed y")
    return found._rescaled(slope, y[0] - slope * grid[0], found.scale)


class ExplanationDisplay:
    """One prediction as a sum of parts: what was expected, and what each answer added.

    Made by :meth:`from_estimator` or :meth:`from_explanation`.

    Parameters
    ----------
    start : float
        The first part, from which the others are added up: the prior, or the
        prediction at the reference row.
    parts : ndarray of shape (n_parts,)
        The other parts.
    names : list of str
        Names of the start and of the parts.
    scale : str
        Label of the horizontal axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        The figure.
    bars_ : matplotlib BarContainer
        The bars of the parts, from above to below.

    Examples
    --------
    >>> from skmeta import EmpiricalBayesRegressor
    >>> from skmeta.datasets import make_linear_tasks
    >>> from skmeta.inspection import ExplanationDisplay
    >>> *tasks, (X, y) = make_linear_tasks(30, random_state=0)
    >>> adapted = EmpiricalBayesRegressor(random_state=0).meta_fit(tasks).adapt(X, y)
    >>> ExplanationDisplay.from_estimator(adapted, X, max_parts=4).names
    ['prior', 'answer ...', 'answer ...', 'answer ...', '17 others']
    """

    def __init__(self, *, start, parts, names, scale="y"):
        self.start = start
        self.parts = parts
        self.names = names
        self.scale = scale

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        row=0,
        by="source",
        max_parts=12,
        names=None,
        ax=None,
        **options,
    ):
        """Explain one prediction and plot its parts.

        Parameters
        ----------
        estimator : estimator
            What :func:`explain` takes.
        X : {array-like, sparse matrix, dataframe} of shape (n_samples, n_features)
            Rows as they go into ``estimator.predict``.
        row : int, default=0
            Number of the row to explain.
        by : {"source", "feature"}, default="source"
            Whether the parts are the prior and the answers, or the features.
        max_parts : int, default=12
            Draw so many parts; the smallest are drawn together.
        names : list of str, default=None
            Names of the known answers, in the order in which they were given, or of the
            features. None means those of the explanation.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        **options : dict
            Arguments of :func:`explain`.

        Returns
        -------
        display : ExplanationDisplay
            The display, plotted.
        """
        found = explain(estimator, X, **options)
        how = {"row": row, "by": by, "max_parts": max_parts, "names": names, "ax": ax}
        return cls.from_explanation(found, **how)

    @classmethod
    def from_explanation(
        cls, explanation, *, row=0, by="source", max_parts=12, names=None, ax=None
    ):
        """Plot the parts of one row of an explanation.

        Parameters
        ----------
        explanation : Explanation
            What ``explain`` returned.
        row : int, default=0
            Number of the row.
        by : {"source", "feature"}, default="source"
            Whether the parts are the prior and the answers, or the features.
        max_parts : int, default=12
            Draw so many parts; the smallest are drawn together.
        names : list of str, default=None
            Names of the known answers, in the order in which they were given, or of the
            features. None means those of the explanation.
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : ExplanationDisplay
            The display, plotted.
        """
        table = explanation.table(row)
        if by not in ("source", "feature"):
            raise ValueError(f"by must be 'source' or 'feature'; got {by!r}.")
        if max_parts < 1:
            raise ValueError(f"max_parts must be at least 1; got {max_parts!r}.")
        values = table.sum(axis=1 if by == "source" else 0)
        own = _part_names(explanation, by, names)
        start, parts = values[0], values[1:]
        if len(parts) > max_parts:
            kept = np.sort(np.argsort(-np.abs(parts), kind="stable")[: max_parts - 1])
            rest = len(parts) - len(kept)
            own = [own[0], *(own[1 + i] for i in kept), f"{rest} others"]
            parts = np.append(parts[kept], parts.sum() - parts[kept].sum())
        scale = explanation.scale
        if explanation.labels is not None:
            scale = f"{scale} of {explanation.labels[row]}"
        return cls(start=start, parts=parts, names=own, scale=scale).plot(ax=ax)

    def plot(self, ax=None):
        """Plot the parts, added up from above to below.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.

        Returns
        -------
        display : ExplanationDisplay
            The display itself.
        """
        self.ax_, self.figure_ = _axes(ax, "ExplanationDisplay")
        self.ax_.use_sticky_edges = False  # bars do not begin at zero
        ends = self.start + np.cumsum(self.parts)
        total = ends[-1] if len(ends) else self.start
        place = np.arange(len(self.parts)) + 1
        colors = np.where(np.asarray(self.parts) < 0, "C3", "C0")
        self.bars_ = self.ax_.barh(
            place, self.parts, left=ends - self.parts, color=colors, height=0.7
        )
        line = {"color": "0.55", "ls": "--", "lw": 1, "zorder": 0}
        self.ax_.axvline(self.start, label=f"{self.names[0]} {self.start:.4g}", **line)
        line |= {"color": "0.2", "ls": "-"}
        self.ax_.axvline(total, label=f"prediction {total:.4g}", **line)
        self.ax_.set_yticks(place, self.names[1:])
        self.ax_.set_ylim(len(self.parts) + 0.6, 0.4)
        self.ax_.set(xlabel=self.scale)
        self.ax_.legend(loc="best")
        return self


def _part_names(explanation, by, names):
    """Names of the parts of an explanation, of which the user may give the last."""
    own = getattr(explanation, f"{by}_names")
    if names is None:
        return own
    n = explanation.n_answers
    some = slice(len(own) - n, len(own))
    if by == "feature":
        n = len(own) - 1 - (own[-1] == "base model")
        some = slice(1, 1 + n)
    if len(names) != n:
        what = "known answers" if by == "source" else "features"
        raise ValueError(f"names has {len(names)} names, but there are {n} {what}.")
    return [*own[: some.start], *map(str, names), *own[some.stop :]]
