"""Plain models of scikit-learn that predict as a meta-learner does."""

import warnings
from copy import copy

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skmeta._linear_part import preprocesses
from skmeta._tables import as_table


class PlainModel:
    """`to_sklearn` of a meta-learner; it fills the hooks if it is not linear in X."""

    def to_sklearn(self):
        """Hand out what the model knows of its task as a plain model.

        The result is an estimator of scikit-learn in the units of X and y. It needs no
        skmeta to predict, and can be exported as any model of its kind.

        Returns
        -------
        plain : estimator
            A fitted :class:`~sklearn.linear_model.LinearRegression`, or
            :class:`~sklearn.linear_model.LogisticRegression` for labels. If the model
            is not adapted, it is that of the learned start.

            * A regressor with a base model gives a
              :class:`~sklearn.ensemble.StackingRegressor`, which adds the correction to
              the base model.
            * A model of counts gives a
              :class:`~sklearn.linear_model.PoissonRegressor`, in most cases of the
              columns with their squares and products, in a
              :class:`~sklearn.pipeline.Pipeline`.
            * A Reptile model with hidden layers gives a
              :class:`~sklearn.neural_network.MLPRegressor` or an
              :class:`~sklearn.neural_network.MLPClassifier`.
            * A classifier that knows a single class gives a
              :class:`~sklearn.tree.DecisionTreeClassifier` of one leaf.

        Raises
        ------
        ValueError
            If no model of scikit-learn predicts the same: with learned features, with
            ``layer_norm``, with a base model of labels or counts, or with both hidden
            layers and a base model.

        See Also
        --------
        skmeta.to_sklearn : The same for a Pipeline, a search and other compositions.

        Notes
        -----
        Plain models predict, and nothing else: they give neither deviations nor
        intervals, suggest no questions and cannot adapt further. A plain regressor
        predicts the same numbers, and a plain model of counts the same rates. A plain
        classifier predicts the same class if there are two. But with a learned prior,
        and for most linear Reptile models, its probabilities are those of the most
        probable coefficients, and not averaged over what is unknown of them. So after
        few rows they are too near to 0 and 1. With more than two classes, a learned
        prior's averaged probabilities may be largest for another class, where two are
        nearly as probable.
        """
        return plain_model_of(self)

    # Whether the prediction of a base model is added to that of `_plain_estimator`.
    _adds_to_base = True

    def _why_not_plain(self):
        """Why no plain model predicts the same, as the end of a sentence, or None."""
        if hasattr(self, "coef_"):
            return None
        return "no model of scikit-learn has learned features beside the columns of X"

    def _plain_estimator(self):
        """The fitted plain model without base model and names of features."""
        coef, intercept = np.atleast_2d(self.coef_), np.atleast_1d(self.intercept_)
        return linear_model_of(self, coef, intercept)


class PlainNetwork(PlainModel):
    """The same of a Reptile model, whose network may have hidden layers."""

    def _why_not_plain(self):
        layout = self._learned.network.layout
        if layout.layer_norm and len(layout.sizes) > 2:
            return "no network of scikit-learn has a layer_norm"
        if len(layout.sizes) > 2 and hasattr(self, "base_estimator_"):
            return "no model of scikit-learn adds a network to another model"
        return None

    def _plain_layers(self):
        """Weights and biases of each layer, without outputs that belong to no class."""
        *hidden, last = ((W, b) for W, b, *_ in self._layers("_present.theta"))
        n = len(self.classes_) if self._targets.own_classes else None
        return [*hidden, (last[0][:, :n], last[1][:n])]

    def _plain_estimator(self):
        layers, scaling = self._plain_layers(), self._scaling
        if len(layers) == 1:
            return linear_model_of(self, *scaling.linear_in_user_units(*layers[0]))
        classes = self.classes_.copy() if self._targets.are_labels else None
        activation = self._learned.network.activation
        return perceptron(layers, activation, scaling, classes)


def plain_model_of(model):
    """What `PlainModel.to_sklearn` returns."""
    check_is_fitted(model)
    if model._targets.are_labels and not hasattr(model, "classes_"):
        raise NotFittedError(
            f"This {type(model).__name__} has no classes until it is adapted to a "
            "task, which brings its own. Call adapt(X, y).to_sklearn()."
        )
    answers = model
    if not model.n_adapt_rows_:  # another model may predict before adapting
        answers = getattr(model, "zero_shot_model_", model)
    base = getattr(answers, "base_estimator_", None)
    reason = answers._why_not_plain()
    adds = answers._adds_to_base and not answers._targets.are_labels
    if base is not None and not adds:
        reason = (
            "no model of scikit-learn corrects the log-odds or log rates of another "
            f"one, as this does with those of its {type(base).__name__}"
        )
    if base is not None and preprocesses(answers):
        reason = (
            "its base model and its linear part read the table in two ways, and no "
            "model of scikit-learn does so"
        )
    if reason is not None:
        raise ValueError(
            f"This {type(model).__name__} cannot be handed out as a plain model: "
            f"{reason}. Serve the model itself, from a joblib file for example, or "
            "meta-train a linear one without base_estimator."
        )
    plain, names = answers._plain_estimator(), getattr(model, "feature_names_in_", None)
    if base is not None:
        plain = sum_of(base, plain, names, answers._frame.columns)
    if preprocesses(answers):
        from sklearn.pipeline import Pipeline

        return Pipeline(
            [("linear_preprocessor", answers.linear_preprocessor_), ("model", plain)]
        )
    if names is not None:
        first = plain.steps[0][1] if hasattr(plain, "steps") else plain
        first.feature_names_in_ = names.copy()
    return plain


def linear_model_of(model, coef, intercept):
    """The plain linear model for slopes (o, d) and intercepts (o,) of a meta-learner.

    They are in the user's units, of numbers or of logits.
    """
    fit_intercept = bool(getattr(model, "fit_intercept", True))
    if not model._targets.are_labels:
        return linear_regression(coef[0], intercept[0], fit_intercept)
    return logistic_regression(coef, intercept, model.classes_.copy(), fit_intercept)


# -- scikit-learn's models, fitted ----------------------------------------------------


def _doubles(values):
    """A new array, or an error if the user's units make a number too large."""
    values = np.array(values, dtype=np.float64)
    if np.isfinite(values).all():
        return values
    raise ValueError(
        "A coefficient is too large for a number of double precision in the units of "
        "X, since a column varies by too little. Rescale the column and meta-train "
        "again."
    )


def linear_regression(coef, intercept, fit_intercept=True):
    """A fitted LinearRegression of slopes (d,) and an intercept."""
    from sklearn.linear_model import LinearRegression

    plain = LinearRegression(fit_intercept=fit_intercept)
    plain.coef_, plain.intercept_ = _doubles(coef), float(_doubles(intercept))
    plain.n_features_in_ = len(plain.coef_)
    return plain


def logistic_regression(coef, intercept, classes, fit_intercept=True):
    """A fitted LogisticRegression of logits; a tree of one leaf if there is one class.

    ``coef`` (o, d) and ``intercept`` (o,) give the log-odds of the second of two
    classes, or a logit of each class.
    """
    from sklearn.linear_model import LogisticRegression

    if len(classes) == 1:
        return single_class(classes, coef.shape[1])
    if len(classes) == 2 and len(coef) == 2:
        coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
    plain = LogisticRegression(fit_intercept=fit_intercept)
    plain.classes_ = classes
    plain.coef_, plain.intercept_ = _doubles(coef), _doubles(intercept)
    plain.n_features_in_ = plain.coef_.shape[1]
    plain.n_iter_ = np.zeros(1, dtype=np.int32)  # nothing was searched for
    return plain


def single_class(classes, n_features):
    """A fitted classifier of one class. Exporters know trees, but not all know dummies.

    It predicts that class for every row.
    """
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier().fit(np.zeros((1, n_features)), classes)


def perceptron(layers, activation, scaling, classes=None):
    """A fitted MLPRegressor, or an MLPClassifier of classes.

    ``layers`` are the weights (fan_in, fan_out) and biases (fan_out,) of each layer on
    standardised data.
    """
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    if classes is not None and len(classes) == 1:
        return single_class(classes, len(layers[0][0]))
    weights = [_doubles(weight) for weight, _ in layers]
    biases = [_doubles(bias) for _, bias in layers]
    if classes is not None and len(classes) == 2 and len(biases[-1]) == 2:
        weights[-1] = weights[-1][:, 1:] - weights[-1][:, :1]
        biases[-1] = biases[-1][1:] - biases[-1][:1]
    weights[0] = _doubles(weights[0] / scaling.x_scale[:, None])
    biases[0] -= scaling.x_mean @ weights[0]
    weights[-1] *= scaling.y_scale
    biases[-1] = biases[-1] * scaling.y_scale + scaling.y_mean
    kind, targets = MLPRegressor, np.zeros(2)
    if classes is not None:
        kind, targets = MLPClassifier, classes
    hidden = tuple(len(bias) for bias in biases[:-1])
    plain = kind(hidden_layer_sizes=hidden, activation=activation, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nothing shall converge here
        plain.fit(np.zeros((len(targets), len(weights[0]))), targets)
    plain.coefs_, plain.intercepts_ = weights, biases
    return plain


def poisson_regression(coef, intercept, fit_intercept=True):
    """A fitted PoissonRegressor of slopes (d,) and an intercept of the log rate."""
    from sklearn.linear_model import PoissonRegressor

    plain = PoissonRegressor(fit_intercept=fit_intercept)
    plain.fit(np.zeros((1, len(coef))), np.ones(1))  # it keeps its link function
    plain.coef_, plain.intercept_ = _doubles(coef), float(_doubles(intercept))
    return plain


def averaged_poisson_regression(mean, covariance, scaling, fit_intercept=True):
    """A fitted Pipeline of rates that are averages over normal coefficients.

    The logarithm of the average is quadratic in x: with the coefficients' mean m and
    covariance C it is x'm + x'Cx / 2. ``mean`` (P,) and ``covariance`` (P, P) are those
    of standardised columns and, last, of the intercept.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    d = len(scaling.x_scale)
    slopes, level, one_row = mean[:d], 0.0, np.zeros((1, d))
    if fit_intercept:
        slopes, level = slopes + covariance[:d, d], mean[d] + 0.5 * covariance[d, d]
    scaler = StandardScaler(with_mean=bool(fit_intercept)).fit(one_row)
    scaler.scale_, scaler.var_ = scaling.x_scale.copy(), scaling.x_scale**2
    scaler.mean_ = scaling.x_mean.copy()
    products = PolynomialFeatures(2, include_bias=False).fit(one_row)
    coef = np.empty(products.n_output_features_)
    for place, powers in enumerate(products.powers_):
        i, *other = np.repeat(np.arange(d), powers)
        if not other:
            coef[place] = slopes[i]
        else:
            coef[place] = covariance[i, other[0]] * (0.5 if other[0] == i else 1.0)
    plain = poisson_regression(coef, level, fit_intercept)
    return make_pipeline(scaler, products, plain)


def sum_of(base, correction, names=None, columns=None):
    """A fitted StackingRegressor: a base model's prediction plus a LinearRegression."""
    from sklearn.ensemble import StackingRegressor
    from sklearn.linear_model import LinearRegression

    fit_intercept = correction.fit_intercept
    final = LinearRegression(fit_intercept=fit_intercept)
    stack = StackingRegressor([("base", base)], final, cv="prefit", passthrough=True)
    # Of this fit only the final estimator depends on rows, and it gets its coefficients
    # afterwards: one for the base model's prediction, and those of the correction.
    rows = np.zeros((2, len(correction.coef_)))
    stack.fit(rows if columns is None else as_table(rows, columns), np.zeros(2))
    coef = np.concatenate([[1.0], correction.coef_])
    stack.final_estimator_ = linear_regression(
        coef, correction.intercept_, fit_intercept
    )
    if names is not None and columns is None:
        knowing = _knowing_names(base, names)
        stack.estimators, stack.estimators_ = [("base", knowing)], [knowing]
        stack.named_estimators_["base"] = knowing
    return stack


def _knowing_names(base, names):
    """A base model that does not warn of rows with names, if it can be told them."""
    knowing = copy(base)
    try:
        knowing.feature_names_in_ = names.copy()
    except AttributeError:  # a Pipeline has those of its first step
        return base
    return knowing
