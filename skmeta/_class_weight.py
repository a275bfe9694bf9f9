"""The parameter ``class_weight`` of classifiers."""

from sklearn.utils._param_validation import StrOptions


def with_class_weight(kind, **others):
    """The parameter constraints of a class, of ``class_weight``, and others."""
    allowed = [StrOptions({"balanced"}), dict, None]
    return {**kind._parameter_constraints, "class_weight": allowed, **others}


class Weighs:
    """The constructor of `EmpiricalBayesClassifier`.

    It stands to the left of `BaseEmpiricalBayes`.
    """

    def __init__(
        self,
        prior="auto",
        *,
        varying="auto",
        features=None,
        base_estimator=None,
        linear_preprocessor=None,
        class_weight=None,
        half_life=None,
        time_column=None,
        row_order="random",
        fit_intercept=True,
        standardize=True,
        keep_tasks="auto",
        tol=1e-4,
        max_iter=1000,
        random_state=None,
    ):
        super().__init__(
            prior,
            varying=varying,
            features=features,
            base_estimator=base_estimator,
            linear_preprocessor=linear_preprocessor,
            half_life=half_life,
            time_column=time_column,
            row_order=row_order,
            fit_intercept=fit_intercept,
            standardize=standardize,
            keep_tasks=keep_tasks,
            tol=tol,
            max_iter=max_iter,
            random_state=random_state,
        )
        self.class_weight = class_weight
