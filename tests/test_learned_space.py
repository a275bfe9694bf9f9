"""The learned space of prototypes: coordinates, distances, and none of the classes."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import softmax
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import euclidean_distances
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from skmeta import PrototypicalClassifier

rng = np.random.default_rng(0)
MIX = 2 * rng.normal(size=(3, 8))  # causes that move all columns of any class


def clouds(n_classes, n_rows):
    """Rows of new classes, one after the other."""
    centres = rng.normal(size=(n_classes, 8))
    kind = np.tile(np.arange(n_classes), n_rows)
    X = centres[kind] + rng.normal(size=(len(kind), 3)) @ MIX
    return X + 0.5 * rng.normal(size=X.shape), kind


X, y = clouds(60, 6)
MODEL = PrototypicalClassifier(random_state=0).fit(X, y)
X_new, y_new = clouds(5, 40)
KNOWN = y_new < 4
GIVEN = KNOWN & (np.arange(len(y_new)) < 15)
FEW = MODEL.adapt(X_new[GIVEN], y_new[GIVEN])


@pytest.mark.parametrize("hidden", [(), (6,)], ids=["linear", "mlp"])
def test_the_nearest_class_in_the_space_is_predicted(hidden):
    model = FEW
    if hidden:
        model = PrototypicalClassifier(hidden, max_iter=5, random_state=0).fit(X, y)
        model = model.adapt(X_new[GIVEN], y_new[GIVEN])
    Z, distances = model.transform(X_new), model.distances(X_new)
    assert Z.shape == (len(X_new), model.prototypes_.shape[1])
    expected = euclidean_distances(Z, model.prototypes_)
    assert_allclose(distances, expected, rtol=1e-6, atol=1e-6)
    assert_array_equal(model.classes_[distances.argmin(axis=1)], model.predict(X_new))
    p = softmax(-model.temperature_ * distances**2, axis=1)
    assert_allclose(model.predict_proba(X_new), p, atol=1e-9)


def test_the_space_needs_no_classes_and_takes_sparse_rows():
    tasks = [(X[i::3], y[i::3]) for i in range(3)]
    model = PrototypicalClassifier(random_state=0).meta_fit(tasks)
    Z = model.transform(X_new)
    assert_allclose(model.transform(sparse.csr_array(X_new)), Z, rtol=1e-9)
    assert_allclose(model.adapt(X[:9], y[:9]).transform(X_new), Z)
    with pytest.raises(AttributeError, match=r"Call adapt\(X, y\)"):
        model.distances(X_new)
    with pytest.raises(NotFittedError):
        PrototypicalClassifier().transform(X_new)


def test_it_is_a_step_in_front_of_other_models():
    pipe = make_pipeline(PrototypicalClassifier(random_state=0), LogisticRegression())
    wanted = y < 6
    assert cross_val_score(pipe, X[wanted], y[wanted], cv=2).mean() > 0.5
    names = MODEL.get_feature_names_out()
    assert names[0] == "prototypicalclassifier0" and len(names) == 8
    frame = PrototypicalClassifier().set_output(transform="pandas").fit(X, y)
    assert list(frame.transform(X)) == list(names)
    assert PCA(2).fit_transform(MODEL.transform(X)).shape == (len(X), 2)


# -- none of these classes ------------------------------------------------------------


def test_a_user_finds_rows_of_none_of_the_classes():
    asked = ~GIVEN
    none = FEW.typicality(X_new[asked]).max(axis=1) < 0.05
    assert none[y_new[asked] == 4].mean() > 0.6
    assert none[y_new[asked] != 4].mean() < 0.1


@pytest.mark.parametrize("n_given", [1, 4])
def test_typicality_is_the_share_of_rows_that_lie_further(n_given):
    model, found = PrototypicalClassifier(random_state=0).fit(*clouds(400, 6)), []
    for _ in range(60):
        X, y = clouds(4, 30)
        few = model.adapt(X[: 4 * n_given], y[: 4 * n_given])
        T = few.typicality(X[4 * n_given :])
        found.append(T[np.arange(len(T)), y[4 * n_given :]])
    for share in (0.05, 0.2, 0.5):
        assert abs(np.mean(np.ravel(found) <= share) - share) < 0.35 * share


def test_units_and_rows_given_in_portions_make_no_difference():
    scaled = PrototypicalClassifier(random_state=0).fit(1e3 * X + 1e5, y)
    few = scaled.adapt(1e3 * X_new[GIVEN] + 1e5, y_new[GIVEN])
    expected = FEW.typicality(X_new)
    assert_allclose(few.typicality(1e3 * X_new + 1e5), expected, atol=2e-3)
    (rows,) = np.nonzero(GIVEN)
    few = MODEL.adapt(X_new[rows[:5]], y_new[rows[:5]])
    few = few.partial_adapt(X_new[rows[5:]], y_new[rows[5:]])
    assert_allclose(few.typicality(X_new), expected)
    more = MODEL.adapt(X_new[GIVEN], y_new[GIVEN], np.full(GIVEN.sum(), 2.0))
    assert (more.typicality(X_new) <= expected + 1e-12).all()


@pytest.mark.parametrize(
    "model",
    [
        PrototypicalClassifier((4,), max_iter=2, random_state=0).fit(X, y),
        PrototypicalClassifier(random_state=0).fit(X[y < 2], y[y < 2]),
    ],
    ids=["network", "two classes"],
)
def test_without_classes_to_learn_from_it_says_so(model):
    few = model.adapt(X_new[GIVEN], y_new[GIVEN])
    with pytest.raises(ValueError, match="three or more classes of two rows"):
        few.typicality(X_new)
