"""Choices among the offers of a set: the public ranker."""

import io
import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skmeta
from skmeta import EmpiricalBayesClassifier, EmpiricalBayesRanker
from skmeta.inspection import AdaptationDisplay
from skmeta.model_selection import few_shot_scores

QUICK = {"prior": "isotropic", "tol": 1e-2, "random_state": 0}


def make_choices(n_tasks=4, n_sets=6, n_offers=(2, 5), outside=False, seed=0):
    """A DataFrame of offers: columns price, quality, size, chosen, shopper, screen."""
    rng = np.random.default_rng(seed)
    rows = []
    for task in range(n_tasks):
        taste = np.array([-1.0, 1.5, 0.0]) + rng.normal(size=3) * [0.8, 0.8, 0.4]
        for screen in range(n_sets):
            X = rng.normal(size=(rng.integers(*n_offers, endpoint=True), 3))
            utility = X @ taste + rng.gumbel(size=len(X))
            best = utility.argmax()
            if outside and utility[best] < 0.5 + rng.gumbel():
                best = -1
            for i, x in enumerate(X):
                rows.append([*x, float(i == best), f"S{task:02d}", f"q{screen}"])
    columns = ["price", "quality", "size", "chosen", "shopper", "screen"]
    return pd.DataFrame(rows, columns=columns)


FEATURES = ["price", "quality", "size"]


@pytest.fixture(scope="module")
def offers():
    return make_choices()


@pytest.fixture(scope="module")
def model(offers):
    return fitted(offers)


@pytest.fixture(scope="module")
def with_none():
    """Offers, some sets of which have no choice, and a model of them."""
    offers = make_choices(outside=True, n_offers=(1, 4))
    return offers, fitted(offers, outside_option=True)


def fitted(offers, **params):
    model = EmpiricalBayesRanker(**(QUICK | params))
    return model.fit(
        offers[FEATURES].to_numpy(),
        offers["chosen"],
        task=offers["shopper"],
        choice_set=offers["screen"],
    )


def of_task(offers, name="S00"):
    """Columns, y and labels of one shopper's offers."""
    some = offers[offers["shopper"] == name]
    return (some[FEATURES].to_numpy(), some["chosen"].to_numpy(), some["screen"])


def numbers_of(model):
    parts = (model.prior_coef_, model.prior_covariance_.ravel(), [model.moderation_])
    return np.concatenate(parts)


# -- what it learns -------------------------------------------------------------------


def test_it_learns_what_shoppers_like_and_how_much_they_differ():
    model = fitted(make_choices(80, 8, seed=1), prior="diagonal")
    assert_allclose(model.prior_coef_, [-1.0, 1.5, 0.0], atol=0.3)
    spread = np.sqrt(np.diag(model.prior_covariance_))
    assert_allclose(spread, [0.8, 0.8, 0.4], atol=0.3)


def test_an_adapted_model_explains_more_of_the_shoppers_next_choices():
    offers, gain = make_choices(20, 6, n_offers=(3, 4), seed=1), []
    model = fitted(offers)
    for name in offers["shopper"].unique():
        X, y, screen = of_task(offers, name)
        known = screen.isin(["q0", "q1", "q2", "q3"]).to_numpy()
        adapted = model.adapt(X[known], y[known], choice_set=screen[known])
        rest = X[~known], y[~known]
        after = adapted.score(*rest, choice_set=screen[~known])
        with pytest.warns(skmeta.exceptions.ZeroShotWarning):
            gain.append(after - model.score(*rest, choice_set=screen[~known]))
    assert np.mean(gain) > 0.0


def test_probabilities_of_each_shelf_sum_to_one_and_follow_the_utilities(offers, model):
    X, y, screen = of_task(offers)
    adapted = model.adapt(X, y, choice_set=screen)
    p = adapted.predict_proba(X, choice_set=screen)
    assert p.shape == y.shape
    assert_allclose(pd.Series(p).groupby(screen.to_numpy()).sum(), 1.0)
    place = adapted.rank(X, choice_set=screen)
    utility = adapted.predict(X)
    for name in screen.unique():
        some = (screen == name).to_numpy()
        assert sorted(place[some]) == list(range(1, some.sum() + 1))
        assert_array_equal(np.argsort(place[some]), np.argsort(-utility[some]))


def test_without_labels_all_rows_are_one_shelf(model):
    X = np.random.default_rng(3).normal(size=(7, 3))
    p = model.predict_proba(X)
    assert_allclose(p.sum(), 1.0)
    assert_allclose(p, model.predict_proba(X, choice_set=["a"] * 7))
    shuffled = [4, 2, 6, 0, 1, 5, 3]
    assert_allclose(model.predict_proba(X[shuffled]), p[shuffled], rtol=1e-12)
    assert_array_equal(model.rank(X[shuffled]), model.rank(X)[shuffled])


def test_probabilities_are_averages_over_the_posterior(offers, model):
    X, y, screen = of_task(offers)
    adapted = model.adapt(X[:6], y[:6], choice_set=screen[:6])
    shelf = np.random.default_rng(1).normal(size=(4, 3))
    factor = np.linalg.cholesky(model.moderation_ * adapted.covariance_)
    u = np.random.default_rng(2).normal(size=(3, 200_000))
    utility = shelf @ (adapted.coef_[:, None] + factor @ u)
    p = np.exp(utility) / np.exp(utility).sum(axis=0)
    assert_allclose(adapted.predict_proba(shelf), p.mean(axis=1), atol=0.004)


def test_of_equal_offers_the_first_row_comes_first(model):
    shelf = np.tile([[1.0, 0.0, 0.0]], (3, 1))
    assert_array_equal(model.rank(shelf), [1, 2, 3])
    assert_allclose(model.predict_proba(shelf), 1 / 3)


# -- no influence ---------------------------------------------------------------------


@pytest.mark.parametrize("outside", [False, True])
def test_units_offsets_and_the_order_of_rows_do_not_matter(outside):
    offers = make_choices(4, 4, outside=outside)
    before = fitted(offers, outside_option=outside, prior="auto")
    offset, unit = np.array([1e6, -3.0, 7.0]), np.array([1e-3, 1e4, 1.0])
    moved = offers.copy()
    moved[FEATURES] = offset + unit * moved[FEATURES]
    moved = moved.sample(frac=1.0, random_state=0)
    moved["shopper"] = moved["shopper"].map(hash)
    moved["screen"] = moved["screen"].str[1:].astype(int) * 17 - 5
    after = fitted(moved, outside_option=outside, prior="auto")
    assert after.prior_structure_ == before.prior_structure_
    assert_allclose(after.prior_coef_ * unit, before.prior_coef_, rtol=2e-3, atol=1e-4)
    X, y, screen = of_task(offers)
    first = (screen < "q2").to_numpy()
    p = []
    for one, at in ((before, lambda X: X), (after, lambda X: offset + unit * X)):
        adapted = one.adapt(at(X[first]), y[first], choice_set=screen[first])
        p.append(adapted.predict_proba(at(X[~first]), choice_set=screen[~first]))
    assert_allclose(p[0], p[1], atol=1e-3)


def test_what_offers_of_a_set_have_in_common_does_not_matter(offers):
    before = fitted(offers)
    moved = offers.copy()
    level = moved.groupby(["shopper", "screen"])["price"].transform("size") ** 3
    moved["price"] += level
    after = fitted(moved)
    assert_allclose(after.prior_coef_, before.prior_coef_, rtol=1e-6)
    assert_allclose(after.prior_covariance_, before.prior_covariance_, rtol=1e-6)


def test_portions_of_whole_sets_are_all_sets_at_once(offers, model):
    X, y, screen = of_task(offers)
    together = model.adapt(X, y, choice_set=screen)
    backwards = model.adapt(X[::-1], y[::-1], choice_set=screen[::-1])
    assert_allclose(backwards.coef_, together.coef_, rtol=1e-7)
    first = screen.isin(["q0", "q1"]).to_numpy()
    one = model.adapt(X[first], y[first], choice_set=screen[first])
    one.partial_adapt(X[~first], y[~first], choice_set=screen[~first])
    assert_allclose(one.coef_, together.coef_, rtol=1e-6)
    assert one.n_adapt_rows_ == len(y)
    again = one.reset_adaptation().partial_adapt(X, y, choice_set=screen)
    assert_allclose(again.coef_, together.coef_, rtol=1e-6)


@pytest.mark.parametrize("labels", ["text", "numbers", "dates", "objects", "floats"])
def test_labels_of_sets_are_of_any_type(offers, model, labels):
    X, y, screen = of_task(offers)
    number = screen.str[1:].astype(int).to_numpy()
    other = {
        "text": screen.to_numpy(),
        "numbers": 1000 - number,
        "dates": np.datetime64("2026-01-01") + number,
        "objects": np.array([f"q{n}" if n % 2 else n for n in number], dtype=object),
        "floats": number * 1.0,
    }[labels]
    adapted = model.adapt(X, y, choice_set=other)
    assert_allclose(adapted.coef_, model.adapt(X, y, choice_set=screen).coef_)
    assert_allclose(
        adapted.predict_proba(X, choice_set=other),
        adapted.predict_proba(X, choice_set=screen),
    )


# -- ranks, several choices, weights --------------------------------------------------


def test_ranks_are_choices_from_what_is_left():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4, 2))
    grades = np.array([3.0, 1.0, 0.0, 2.0])
    by_hand = [[0, 1, 2, 3], [3, 1, 2], [1, 2]]  # each first one is chosen
    rows = np.concatenate(by_hand)
    chosen = np.concatenate([np.eye(len(some))[0] for some in by_hand])
    number = np.repeat(range(3), [len(some) for some in by_hand])
    model = fitted(make_choices(4, 4))
    X = np.column_stack([X, rng.normal(size=4)])
    ranked = model.adapt(X, grades, choice_set=["a"] * 4)
    choices = model.adapt(X[rows], chosen, choice_set=number)
    assert_allclose(ranked.coef_, choices.coef_, rtol=1e-7)
    assert_allclose(model.adapt(X, 10 * grades - 5).coef_, ranked.coef_, rtol=1e-7)


def test_offers_of_one_grade_are_not_compared(model):
    X = np.random.default_rng(1).normal(size=(4, 3))
    both = model.adapt(X, [1, 1, 0, 0], choice_set=[0] * 4)
    one_by_one = model.adapt(
        X[[0, 2, 3, 1, 2, 3]], [1, 0, 0, 1, 0, 0], choice_set=[0, 0, 0, 1, 1, 1]
    )
    assert_allclose(both.coef_, one_by_one.coef_, rtol=1e-7)


def test_the_weight_of_a_set_says_how_often_it_counts(offers, model):
    X, y, screen = of_task(offers)
    some = screen.isin(["q0", "q1"]).to_numpy()
    weight = np.where(screen[some] == "q0", 2.0, 1.0)
    weighted = model.adapt(X[some], y[some], weight, choice_set=screen[some])
    first = (screen == "q0").to_numpy()
    twice = model.adapt(X[some], y[some], choice_set=screen[some])
    twice.partial_adapt(X[first], y[first])
    assert_allclose(weighted.coef_, twice.coef_, rtol=1e-6)


def test_offers_of_weight_zero_were_not_on_offer(offers, model):
    X, y, screen = of_task(offers)
    gone = np.random.default_rng(0).normal(size=(2, 3))
    more = np.vstack([X, gone]), np.append(y, [1, 0]), [*screen, "q0", "q1"]
    weight = np.append(np.ones(len(y)), [0, 0])
    adapted = model.adapt(*more[:2], weight, choice_set=more[2])
    assert_allclose(adapted.coef_, model.adapt(X, y, choice_set=screen).coef_)


def test_the_same_label_in_two_tasks_is_two_sets(offers):
    before = fitted(offers)
    other = offers.assign(screen=offers["shopper"] + offers["screen"])
    assert_allclose(numbers_of(fitted(other)), numbers_of(before), rtol=1e-10)


# -- the outside option ---------------------------------------------------------------


def test_probabilities_beside_an_outside_option_sum_to_less_than_one(with_none):
    offers, model = with_none
    X, y, screen = of_task(offers)
    adapted = model.adapt(X, y, choice_set=screen)
    total = pd.Series(adapted.predict_proba(X, choice_set=screen))
    total = total.groupby(screen.to_numpy()).sum()
    assert ((total > 0.05) & (total < 0.999)).all()
    assert_allclose(adapted.predict(X), X @ adapted.coef_ + adapted.intercept_)


def test_single_offers_and_none_of_them_are_logistic_regression():
    offers = make_choices(8, 8, outside=True, n_offers=(1, 1))
    X, y = offers[FEATURES].to_numpy(), offers["chosen"].to_numpy()
    task, screen = offers["shopper"], offers["screen"]
    ranker = EmpiricalBayesRanker("diagonal", outside_option=True, random_state=0)
    ranker.fit(X, y, task=task, choice_set=screen)
    other = EmpiricalBayesClassifier("diagonal", random_state=0).fit(X, y, task=task)
    assert_allclose(ranker.prior_coef_, other.prior_coef_[0], rtol=1e-6)
    assert_allclose(
        ranker.prior_covariance_, other.prior_covariance_, rtol=1e-6, atol=1e-9
    )
    assert ranker.moderation_ == pytest.approx(other.moderation_, rel=1e-6)
    known = (task == "S00").to_numpy()
    one = ranker.adapt(X[known], y[known], choice_set=screen[known])
    two = other.adapt(X[known], y[known])
    assert_allclose(one.predict(X), X @ two.coef_[0] + two.intercept_[0], rtol=1e-6)
    p = one.predict_proba(X, choice_set=np.arange(len(X)))
    assert_allclose(p, two.predict_proba(X)[:, 1], rtol=1e-6)
    assert_allclose(
        ranker.predict_proba(X, choice_set=np.arange(len(X))),
        other.predict_proba(X)[:, 1],
        rtol=1e-6,
    )


def test_a_set_without_a_choice_lowers_the_utility_of_all_offers(with_none):
    _, model = with_none
    shelf = np.random.default_rng(0).normal(size=(3, 3))
    shy = model.adapt(shelf, [0, 0, 0])
    keen = model.adapt(shelf, [0, 1, 0])
    assert shy.intercept_ < model.prior_intercept_ < keen.intercept_
    assert shy.predict_proba(shelf).sum() < keen.predict_proba(shelf).sum()
    assert_allclose(model.adapt(shelf, [0, -1, -2]).coef_, shy.coef_)


# -- layouts and verbs ----------------------------------------------------------------


def test_sparse_rows_lists_and_dataframes_are_the_same_rows(offers, model):
    X, y, screen = of_task(offers)
    p = model.adapt(X, y, choice_set=screen).predict_proba(X, choice_set=screen)
    for kind in (sparse.csr_array, np.asfortranarray, np.ndarray.tolist):
        other = fitted_on(offers, kind)
        adapted = other.adapt(kind(X), y.tolist(), choice_set=list(screen))
        q = adapted.predict_proba(kind(X), choice_set=tuple(screen))
        assert_allclose(q, p, rtol=1e-6)
    frames = EmpiricalBayesRanker(**QUICK).fit(
        offers[FEATURES],
        offers["chosen"],
        task=offers["shopper"],
        choice_set=offers["screen"],
    )
    some = offers[offers["shopper"] == "S00"]
    adapted = frames.adapt(some[FEATURES], some["chosen"], choice_set=some["screen"])
    q = adapted.predict_proba(some[FEATURES], choice_set=some["screen"])
    assert_allclose(q, p)
    assert_array_equal(frames.feature_names_in_, FEATURES)


def fitted_on(offers, kind):
    X = offers[FEATURES].to_numpy()
    return EmpiricalBayesRanker(**QUICK).fit(
        kind(X), offers["chosen"], task=offers["shopper"], choice_set=offers["screen"]
    )


def test_a_list_of_tasks_is_a_table_with_ids(offers, model):
    tasks = {}
    for name, some in offers.groupby("shopper"):
        X = some[FEATURES].to_numpy()
        tasks[name] = (X, some["chosen"].to_numpy(), None, some["screen"])
    of_list = EmpiricalBayesRanker(**QUICK).meta_fit(tasks)
    assert_allclose(numbers_of(of_list), numbers_of(model))
    by_verb = skmeta.meta_fit(EmpiricalBayesRanker(**QUICK), tasks)
    assert_allclose(numbers_of(by_verb), numbers_of(model))


def test_tasks_of_one_set_each_need_no_labels():
    offers = make_choices(20, 1)
    tasks = [
        (some[FEATURES].to_numpy(), some["chosen"].to_numpy())
        for _, some in offers.groupby("shopper")
    ]
    model = EmpiricalBayesRanker(**QUICK).meta_fit(tasks)
    assert_allclose(numbers_of(model), numbers_of(fitted(offers)), rtol=1e-6)
    assert model.adapt(*tasks[0]).n_adapt_rows_ == len(tasks[0][1])


def test_the_verbs_reach_the_ranker_inside_a_pipeline(offers, model):
    pipe = make_pipeline(StandardScaler(), EmpiricalBayesRanker(**QUICK))
    X, y, screen = of_task(offers)
    tasks = [
        (
            of_task(offers, name)[0],
            of_task(offers, name)[1],
            None,
            of_task(offers, name)[2],
        )
        for name in offers["shopper"].unique()
    ]
    skmeta.meta_fit(pipe, tasks)
    adapted = skmeta.adapt(pipe, X[:9], y[:9], choice_set=screen[:9])
    alone = model.adapt(X[:9], y[:9], choice_set=screen[:9])
    p = alone.predict_proba(X, choice_set=screen)
    with sklearn.config_context(enable_metadata_routing=True):
        q = adapted.predict_proba(X, choice_set=screen)
    assert_allclose(q, p, rtol=1e-4)
    frozen = skmeta.adapt(FrozenEstimator(pipe), X[:9], y[:9], choice_set=screen[:9])
    assert_allclose(frozen.predict(X), alone.predict(X), rtol=1e-3, atol=1e-4)
    skmeta.partial_adapt(adapted, X[9:], y[9:], choice_set=screen[9:])
    whole = model.adapt(X, y, choice_set=screen)
    assert_allclose(adapted.predict(X), whole.predict(X), rtol=1e-3, atol=1e-3)


WAYS = {
    "plain": {},
    "outside option": {"outside_option": True},
    "base model": {"base_estimator": LinearRegression()},
    "half-life": {"half_life": 2.0},
    "pairs": {},
}


@pytest.mark.parametrize("way", WAYS)
def test_many_tasks_at_once_are_tasks_one_by_one(way):
    sizes = (2, 2) if way == "pairs" else (2, 5)
    offers = make_choices(5, outside="option" in way, n_offers=sizes)
    model = fitted(offers, **WAYS[way])
    X, y = offers[FEATURES].to_numpy(), offers["chosen"].to_numpy()
    task, screen = offers["shopper"].to_numpy(), offers["screen"].to_numpy()
    weight = np.where(screen == "q0", 3.0, 1.0)
    known = np.isin(screen, ["q0", "q1", "q2"])
    new, known = ~known & (task != "S04"), known & (task != "S02")
    for method in ("predict", "predict_proba", "rank"):
        answer = skmeta.adapt_predict(
            model,
            X[known],
            y[known],
            X[new],
            weight[known],
            task=task[known],
            task_new=task[new],
            choice_set=screen[known],
            choice_set_new=screen[new],
            method=method,
        )
        for name in ("S00", "S01", "S02", "S03"):  # nothing is known of S02
            rows, asked = known & (task == name), new & (task == name)
            adapted = model
            if rows.any():
                given = X[rows], y[rows], weight[rows]
                adapted = model.adapt(*given, choice_set=screen[rows])
            labels = {} if method == "predict" else {"choice_set": screen[asked]}
            found = getattr(adapted, method)(X[asked], **labels)
            assert_allclose(answer[task[new] == name], found, rtol=1e-6, atol=1e-9)


def test_without_labels_the_rows_of_each_task_are_one_set_and_one_shelf(offers, model):
    X, y, screen = of_task(offers)
    first = (screen == "q0").to_numpy()
    new = np.tile(X[~first], (2, 1))
    task_new = np.repeat(["a", "b"], (~first).sum())
    p = model.adapt_predict(
        np.tile(X[first], (2, 1)),
        np.append(y[first], 0 * y[first]),  # the sets of "b" say nothing
        new,
        task=np.repeat(["a", "b"], first.sum()),
        task_new=task_new,
        method="predict_proba",
    )
    adapted = model.adapt(X[first], y[first])
    assert_allclose(p[task_new == "a"], adapted.predict_proba(X[~first]))
    assert_allclose(p[task_new == "b"], model.predict_proba(X[~first]))


def test_a_search_splits_whole_shoppers_and_routes_the_labels(offers):
    X, y = offers[FEATURES].to_numpy(), offers["chosen"].to_numpy()
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            make_pipeline(StandardScaler(), EmpiricalBayesRanker(**QUICK)),
            {"empiricalbayesranker__tol": [0.01, 0.1]},
            cv=GroupKFold(2).set_split_request(groups="task"),
        ).fit(X, y, task=offers["shopper"], choice_set=offers["screen"])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    X, y, screen = of_task(offers)
    adapted = skmeta.adapt(search, X, y, choice_set=screen)
    assert adapted[-1].n_adapt_rows_ == len(y)


def test_it_is_cloned_pickled_and_dumped(offers, model):
    X, y, screen = of_task(offers)
    adapted = model.adapt(X, y, choice_set=screen)
    p = adapted.predict_proba(X, choice_set=screen)
    file = io.BytesIO()
    joblib.dump(adapted, file)
    for copy in (pickle.loads(pickle.dumps(adapted)), joblib.load(file)):
        assert_array_equal(copy.predict_proba(X, choice_set=screen), p)
        copy.partial_adapt(X, y, choice_set=screen)
    assert not hasattr(clone(adapted), "n_tasks_")


# -- base models ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "base",
    [
        LinearRegression(),
        LogisticRegression(),
        HistGradientBoostingRegressor(max_iter=5, random_state=0),
        EmpiricalBayesRanker(random_state=0),
    ],
    ids=lambda base: type(base).__name__,
)
def test_a_base_model_says_utilities_and_the_prior_corrects_them(offers, base):
    model = fitted(offers, base_estimator=base)
    X, y, screen = of_task(offers)
    adapted = model.adapt(X, y, choice_set=screen)
    assert model.base_scale_ > 0
    offset = model.base_scale_ * model.base_estimator_.predict(X)
    found = adapted.predict(X) - offset
    assert_allclose(found, X @ adapted.coef_ + adapted.intercept_, atol=1e-8)
    p = adapted.predict_proba(X, choice_set=screen)
    assert_allclose(pd.Series(p).groupby(screen.to_numpy()).sum(), 1.0)
    assert adapted.score(X, y, choice_set=screen) > 0.2


@pytest.mark.filterwarnings("error")  # such as that choice_set is missing
def test_scores_after_a_few_choices_give_the_base_model_whole_sets(offers):
    model = fitted(offers, base_estimator=LinearRegression())
    whose = {"task": offers["shopper"], "choice_set": offers["screen"]}
    X = offers[FEATURES].to_numpy()
    found = few_shot_scores(model, X, offers["chosen"], **whose, n_support=2)
    assert np.isfinite(found).all()


class KnowsTheTaste(LinearRegression):
    def predict(self, X):
        return 20.0 * (X @ [-1.0, 1.5, 0.0]) + 7.0


def test_the_unit_of_utilities_is_learned(offers):
    alone = fitted(offers)
    model = fitted(offers, base_estimator=KnowsTheTaste())
    assert 0.02 < model.base_scale_ < 0.08
    slopes = 20 * model.base_scale_ * np.array([-1.0, 1.5, 0.0]) + model.prior_coef_
    assert_allclose(slopes, alone.prior_coef_, atol=0.05)


# -- what is refused or warned of -----------------------------------------------------


def test_ranks_with_one_as_the_best_are_warned_of():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    ranks = np.concatenate([rng.permutation(4) + 1 for _ in range(15)])
    sets = np.repeat(range(15), 4)
    with pytest.warns(UserWarning, match="pass -y"):
        EmpiricalBayesRanker("isotropic").fit(X, ranks, task=sets // 3, choice_set=sets)


def test_forgotten_labels_are_warned_of(offers):
    with pytest.warns(UserWarning, match="Without choice_set"):
        EmpiricalBayesRanker("isotropic").fit(
            offers[FEATURES], offers["chosen"], task=offers["shopper"]
        )


def test_different_weights_in_a_set_are_refused(offers, model):
    X, y, screen = of_task(offers)
    weight = np.ones(len(y))
    weight[1] = 3.0
    with pytest.raises(ValueError, match="'q0' has offers of weight 1 and 3"):
        model.adapt(X, y, weight, choice_set=screen)
    data = offers[FEATURES], offers["chosen"], np.r_[3.0, np.ones(len(offers) - 1)]
    with pytest.raises(ValueError, match="'q0' of task 'S00'"):
        clone(model).fit(*data, task=offers["shopper"], choice_set=offers["screen"])


def test_sets_without_a_preference_are_left_out_or_refused(offers, model):
    X, y, screen = of_task(offers)
    with pytest.raises(ValueError, match="outside_option=True"):
        model.adapt(X[:3], [0, 0, 0])
    with pytest.raises(ValueError, match="one offer"):
        model.adapt(X[:1], [1])
    nothing = np.append(y, [0, 0]), [*screen, "new", "new"]
    with pytest.warns(UserWarning, match="1 of 7 choice sets say nothing"):
        adapted = model.adapt(np.vstack([X, X[:2]]), nothing[0], choice_set=nothing[1])
    assert_allclose(adapted.coef_, model.adapt(X, y, choice_set=screen).coef_)


def test_columns_without_effect_are_warned_of(offers):
    more = offers.assign(age=offers["shopper"].str[1:].astype(float))
    X = more[[*FEATURES, "age"]]
    with pytest.warns(UserWarning, match=r"\['age'\]"):
        EmpiricalBayesRanker(**QUICK).fit(
            X, more["chosen"], task=more["shopper"], choice_set=more["screen"]
        )
    with pytest.raises(ValueError, match="No column of X differs"):
        EmpiricalBayesRanker(**QUICK).fit(
            X[["age"]], more["chosen"], task=more["shopper"], choice_set=more["screen"]
        )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 2], "choice_set has 2 ids"),
        ("screen", "is a name"),
        ([None] * 3, "missing"),
        (np.zeros((3, 2)), "one dimension"),
    ],
)
def test_bad_labels_are_refused(model, labels, message):
    X = np.eye(3)
    with pytest.raises(ValueError, match=message):
        model.adapt(X, [1, 0, 0], choice_set=labels)
    with pytest.raises(ValueError, match=message):
        model.predict_proba(X, choice_set=labels)
    assert model.n_adapt_rows_ == 0


def test_labels_of_a_model_without_choices_are_refused(offers):
    X, y, screen = of_task(offers)
    other = EmpiricalBayesClassifier("isotropic").fit(X, y, task=screen)
    with pytest.raises(TypeError, match="takes no choice_set"):
        skmeta.adapt(other, X, y, choice_set=screen)


def test_it_must_be_fitted_first():
    with pytest.raises(NotFittedError):
        EmpiricalBayesRanker().predict_proba(np.eye(3))


# -- questions, time, and what it cannot do -------------------------------------------


def test_the_screen_that_tells_most_is_asked_first(offers, model):
    rng = np.random.default_rng(0)
    pool, labels = rng.normal(size=(12, 3)), np.repeat(["same", "b", "c", "d"], 3)
    pool[:3] = pool[0]  # an answer about equal offers says nothing
    chosen = model.suggest_queries(pool, 4, choice_set=labels)
    assert sorted(chosen) == ["b", "c", "d", "same"]
    assert chosen[-1] == "same"
    told = {name: variance_after(model, pool, labels == name) for name in chosen}
    assert told[chosen[0]].sum() < 1.03 * min(v.sum() for v in told.values())
    again = model.suggest_queries(1e3 * pool[::-1] / 1e3, 1, choice_set=labels[::-1])
    assert again[0] == chosen[0]
    X, y, screen = of_task(offers)
    next_one = model.adapt(X, y, choice_set=screen).suggest_queries(
        pool, choice_set=np.repeat(range(4), 3)
    )
    assert next_one[0] in (1, 2, 3)


def variance_after(model, pool, asked):
    """Variances of the pool's utilities, on average over the answer to a screen."""
    p = model.predict_proba(pool[asked])
    found = 0.0
    for i, chance in enumerate(p):
        adapted = model.adapt(pool[asked], np.arange(len(p)) == i)
        apart = pool - pool.mean(axis=0)
        found += chance * ((apart @ adapted.covariance_) * apart).sum(axis=1)
    return found


@pytest.mark.parametrize("n_queries", [0, 5, 1.5])
def test_a_pool_cannot_give_more_screens_than_it_has(model, n_queries):
    with pytest.raises(ValueError, match="from 1 to 2, the choice sets"):
        model.suggest_queries(np.eye(4, 3), n_queries, choice_set=[0, 0, 1, 1])


def test_with_a_half_life_the_age_of_a_choice_is_counted_in_choices(offers):
    model = fitted(offers, half_life=1.0, prior="isotropic")
    X, y, screen = of_task(offers)
    number = screen.str[1:].astype(int).to_numpy()
    adapted = model.adapt(X, y, choice_set=screen)
    plain = fitted(offers, prior="isotropic")
    sizes = pd.Series(y).groupby(number).size()
    tells = (sizes > 1).to_numpy()
    age = np.cumsum(tells[::-1])[::-1] - 1
    by_hand = plain.adapt(X, y, 0.5 ** age[number], choice_set=screen)
    assert_allclose(adapted.coef_, by_hand.coef_, rtol=1e-5)
    first = number < 3
    portions = model.adapt(X[first], y[first], choice_set=screen[first])
    portions.partial_adapt(X[~first], y[~first], choice_set=screen[~first])
    assert_allclose(portions.coef_, adapted.coef_, rtol=1e-5)


def test_a_column_can_tell_when_choices_were_made(offers):
    timed = offers.assign(day=1e9 + 86400.0 * offers["screen"].str[1:].astype(int))
    columns = [*FEATURES, "day"]
    model = EmpiricalBayesRanker(half_life=86400.0, time_column="day", **QUICK)
    data = {"task": timed["shopper"], "choice_set": timed["screen"]}
    model.fit(timed[columns], timed["chosen"], **data)
    some = timed[timed["shopper"] == "S00"].sample(frac=1.0, random_state=0)
    adapted = model.adapt(some[columns], some["chosen"], choice_set=some["screen"])
    age = 5.0 - some["screen"].str[1:].astype(int)
    plain = clone(model).set_params(half_life=None, row_order="time")
    plain.fit(timed[columns], timed["chosen"], **data)
    by_hand = plain.adapt(
        some[columns], some["chosen"], 0.5**age, choice_set=some["screen"]
    )
    assert_allclose(adapted.coef_[:3], by_hand.coef_[:3], rtol=1e-5)
    some = some.assign(day=some["day"] + np.arange(len(some)))
    with pytest.raises(ValueError, match="Give all offers of a set one time"):
        model.adapt(some[columns], some["chosen"], choice_set=some["screen"])


def test_a_plain_linear_model_has_the_utilities(offers, model):
    X, y, screen = of_task(offers)
    adapted = model.adapt(X, y, choice_set=screen)
    plain = skmeta.to_sklearn(adapted)
    assert isinstance(plain, LinearRegression)
    assert_allclose(plain.predict(X), adapted.predict(X))
    based = fitted(offers, base_estimator=LinearRegression())
    with pytest.raises(ValueError, match="plain model"):
        based.to_sklearn()


def test_utilities_are_no_targets_to_transform_back(offers, model):
    X, y, screen = of_task(offers)
    wrapped = TransformedTargetRegressor(model)
    with pytest.raises(TypeError, match="predicts utilities"):
        skmeta.meta_fit(wrapped, [(X, y, None, screen)] * 2)
    with pytest.raises(TypeError, match="transform them back"):
        wrapped.fit(X, y, choice_set=screen)


def test_it_does_not_learn_in_portions(offers, model):
    with pytest.raises(TypeError, match="in portions"):
        clone(model).partial_meta_fit([of_task(offers)[:2]])


def test_a_few_shot_score_needs_the_sets(offers, model):
    X, y, _ = of_task(offers)
    with pytest.raises(ValueError, match="Pass the set of each row"):
        model.score(X, y, task=np.zeros(len(y)))


def test_the_few_shot_score_gives_five_sets_of_each_task(offers, model):
    X, y = offers[FEATURES].to_numpy(), offers["chosen"].to_numpy()
    given = {"task": offers["shopper"], "choice_set": offers["screen"]}
    assert 0.1 < model.score(X, y, **given) < 0.8


def test_the_remedy_names_the_parameter_of_the_ranker(offers):
    for params in ({"prior": "intercept"}, {"varying": []}):
        with pytest.raises(ValueError, match="Set outside_option=True, or"):
            fitted(offers, **params)
    parts = {"prior": "intercept"}, {"varying": [], "prior": "diagonal"}
    for params in parts:
        model = fitted(offers, outside_option=True, **params)
        assert not model.prior_covariance_[:3, :3].any()


def test_a_lone_offer_is_taken_for_certain_unless_one_may_leave(offers, model):
    X = np.eye(3)
    assert_allclose(model.predict_proba(X, choice_set=[1, 2, 3]), 1.0)
    shy = fitted(offers, outside_option=True)
    assert shy.predict_proba(X[:1])[0] < 1.0


def test_a_parameter_that_is_set_after_fit_changes_nothing(offers):
    X, y, screen = of_task(offers)
    model = fitted(offers)
    p = model.adapt(X, y, choice_set=screen).predict_proba(X)
    model.set_params(outside_option=True)
    again = model.adapt(X, y, choice_set=screen)
    assert_allclose(again.predict_proba(X), p)
    assert_allclose(again.predict(X), X @ again.coef_ + again.intercept_)


class LearnsGroups(LinearRegression):
    """A stand-in for a ranker of LightGBM, which takes sizes of neighbouring sets."""

    def fit(self, X, y, sample_weight=None, group=None):
        assert sum(group) == len(y)
        at = np.split(np.asarray(y), np.cumsum(group)[:-1])
        assert all(min(part) == 0 and max(part) == 1 for part in at)
        return super().fit(X, y, sample_weight)


class LearnsQid(LinearRegression):
    """A stand-in for a ranker of XGBoost: sorted ids, and a weight for each set."""

    def fit(self, X, y, qid=None, sample_weight=None):
        assert (np.diff(qid) >= 0).all()
        assert sample_weight is None or len(sample_weight) == len(set(qid))
        return super().fit(X, y)


@pytest.mark.parametrize("base", [LearnsGroups(), LearnsQid()])
@pytest.mark.parametrize("weighted", [False, True])
def test_rankers_get_the_offers_set_by_set(offers, base, weighted):
    rows = np.random.default_rng(0).permutation(len(offers))
    mixed = offers.iloc[rows]
    weight = 1 + mixed["screen"].isin(["q0"]) if weighted else None
    model = EmpiricalBayesRanker(base_estimator=base, **QUICK).fit(
        mixed[FEATURES].to_numpy(),
        mixed["chosen"],
        weight,
        task=mixed["shopper"],
        choice_set=mixed["screen"],
    )
    assert model.base_scale_ > 0


def test_what_cannot_say_a_utility_is_no_base_model(offers):
    with pytest.raises(TypeError, match="a regressor of y, a classifier, or a ranker"):
        fitted(offers, base_estimator=KMeans(2))


@pytest.mark.parametrize("outside", [False, True])
def test_skops_needs_to_trust_only_our_names(offers, outside):
    io = pytest.importorskip("skops.io")
    X, y, screen = of_task(offers)
    model = fitted(offers, outside_option=outside)
    saved = io.dumps(model.adapt(X, y, choice_set=screen))
    unknown = io.get_untrusted_types(data=saved)
    assert all(name.startswith("skmeta.") for name in unknown)
    loaded = io.loads(saved, trusted=unknown).partial_adapt(X, y, choice_set=screen)
    adapted = model.adapt(X, y, choice_set=screen)
    adapted.partial_adapt(X, y, choice_set=screen)
    assert_array_equal(loaded.predict_proba(X), adapted.predict_proba(X))


def test_sets_that_do_not_fit_in_memory_are_refused(model, monkeypatch):
    monkeypatch.setattr("skmeta._choice_sets.MOST_CELLS", 200)
    X = np.random.default_rng(0).normal(size=(20, 3))
    model.adapt(X, np.arange(20) == 3)
    with pytest.raises(ValueError, match="19 choices from sets of up to 20 offers"):
        model.adapt(X, np.arange(20))


def test_utilities_are_not_drawn_beside_choices(offers, model):
    X, y, _ = of_task(offers)
    with pytest.raises(TypeError, match="ExplanationDisplay"):
        AdaptationDisplay.from_estimator(model, X, y)


def test_labels_that_start_anew_are_no_sets_without_tasks(offers, model):
    data = offers[FEATURES].to_numpy(), offers["chosen"]
    told = pytest.warns(UserWarning, match="within one task only")
    with told:
        EmpiricalBayesRanker(**QUICK).fit(*data, choice_set=offers["screen"])
    with told:
        model.adapt(*data, choice_set=offers["screen"])
    with told:
        model.adapt(*data, choice_set=offers["screen"]).score(
            *data, choice_set=offers["screen"]
        )
    several = np.tile([1.0, 1.0, 0.0], 4)  # two of three are chosen from each shelf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.adapt(data[0][:12], several, choice_set=np.repeat(range(4), 3))


def test_text_says_nothing_about_which_offer_is_preferred(offers, model):
    X, y, screen = of_task(offers)
    words = np.where(y > 0, "yes", "no")
    for given in (words, words.tolist(), pd.Series(words)):
        with pytest.raises(ValueError, match="1 for the offer chosen"):
            model.adapt(X, given, choice_set=screen)
        with pytest.raises(ValueError, match="1 for the offer chosen"):
            clone(model).fit(X, given, task=screen)
