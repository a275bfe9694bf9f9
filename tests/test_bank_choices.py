"""A bank over a ranker: what it is given comes in whole choice sets."""

import uuid
from datetime import date

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmeta import (
    EmpiricalBayesClassifier,
    EmpiricalBayesRanker,
    EmpiricalBayesRegressor,
    TaskBank,
    adapt,
    meta_fit,
)
from skmeta.datasets import make_linear_tasks

N_SETS, N_OFFERS = 6, 3
LABELS = np.repeat(np.arange(N_SETS), N_OFFERS)


def shopper(rng, taste=(1.0, -1.0)):
    """Offers, the chosen ones, no weights, and the labels of the sets."""
    X = rng.normal(size=(N_SETS * N_OFFERS, 2))
    utility = X @ (taste + rng.normal(size=2)) + rng.gumbel(size=len(X))
    best = utility.reshape(N_SETS, N_OFFERS).argmax(axis=1)
    chosen = np.arange(N_OFFERS) == best[:, None]
    return X, chosen.ravel().astype(int), None, LABELS


@pytest.fixture(scope="module")
def tasks():
    rng = np.random.default_rng(0)
    return [shopper(rng) for _ in range(14)]


@pytest.fixture(scope="module")
def ranker(tasks):
    return EmpiricalBayesRanker("isotropic", random_state=0).meta_fit(tasks[:12])


@pytest.fixture
def bank(ranker):
    return TaskBank(ranker)


def give(bank, id, task, sets=range(N_SETS)):
    X, y, _, labels = task
    rows = np.isin(labels, list(sets))
    return bank.update(X[rows], y[rows], task=id, choice_set=labels[rows])


def test_a_task_is_what_adapt_makes_of_all_its_sets(bank, ranker, tasks):
    X, y, _, labels = tasks[-1]
    adapted = ranker.adapt(X, y, choice_set=labels)
    give(give(bank, "ann", tasks[-1], [4, 1]), "bob", tasks[-2])
    give(bank, "ann", tasks[-1], [0, 2, 3, 5])
    new = tasks[0][0]
    np.testing.assert_allclose(bank.predict(new, task="ann"), adapted.predict(new))
    np.testing.assert_allclose(
        bank.predict_proba(new, task="ann", choice_set=labels),
        adapted.predict_proba(new, choice_set=labels),
    )
    np.testing.assert_array_equal(bank.rank(new, task="ann"), adapted.rank(new))
    model = bank.model_of("ann")
    np.testing.assert_allclose(model.predict(new), adapted.predict(new))


def test_a_set_is_a_set_of_its_task(bank, ranker, tasks):
    """The same label means other sets in other tasks, in what is known and new."""
    for i, id in enumerate("abc"):
        give(bank, id, tasks[-1 - i])
    X = tasks[0][0]
    id = np.tile(list("abx"), N_SETS)
    sets = LABELS // 2  # of two offers in each task
    p = bank.predict_proba(X, task=id, choice_set=sets)
    for one in "abx":
        np.testing.assert_allclose(np.bincount(sets[id == one], p[id == one]), 1)
    p, place = bank.predict_proba(X, task=id), bank.rank(X, task=id)
    for one in "abx":
        rows = id == one
        assert p[rows].sum() == pytest.approx(1)
        np.testing.assert_allclose(p[rows], bank.predict_proba(X[rows], task=one))
        assert sorted(place[rows]) == list(range(1, N_SETS + 1))
    np.testing.assert_allclose(p[id == "x"], ranker.predict_proba(X[id == "x"]))


def test_without_labels_an_update_is_a_set_of_each_task(ranker, tasks):
    X, y, _, labels = tasks[-1]
    named, nameless = TaskBank(ranker), TaskBank(ranker)
    give(named, 1, tasks[-1])
    for number in range(N_SETS):
        rows = labels == number
        nameless.update(X[rows], y[rows], task=1)
    np.testing.assert_allclose(nameless.predict(X, task=1), named.predict(X, task=1))
    assert nameless.rows_of(1).choice_set.tolist() == labels.tolist()
    rows = labels == 2
    nameless.remove(X[rows], y[rows], task=1)
    named.remove(X[rows], y[rows], task=1)
    np.testing.assert_allclose(nameless.predict(X, task=1), named.predict(X, task=1))


def test_labels_that_were_forgotten_are_missed(bank, tasks):
    X, y, *_ = tasks[-1]
    with pytest.warns(UserWarning, match="choice_set="):
        bank.update(X, y, task="ann")
    with pytest.raises(ValueError, match="weight"):
        bank.update(X[:3], y[:3], [1, 2, 1], task="ann")


def test_a_set_that_comes_twice_is_refused(bank, tasks):
    give(bank, "ann", tasks[-1], [0, 1])
    before = bank.predict(tasks[0][0], task="ann")
    with pytest.raises(ValueError, match="Task 'ann' has a choice set 1 already"):
        give(bank, "ann", tasks[-1], [1, 2])
    np.testing.assert_array_equal(bank.predict(tasks[0][0], task="ann"), before)
    give(bank, "bob", tasks[-1], [1, 2])  # another task may have it


@pytest.mark.parametrize(
    "labels",
    [
        np.array([1, "1", 2.5, b"1", date(2026, 1, 2), uuid.UUID(int=5)], dtype=object),
        np.array(["2026-01-02"] * 5 + ["2026-01-03"], "datetime64[D]") + np.arange(6),
        np.arange(6) + 0.5,
        np.array([2**70, 1, 2, 3, 4, 5], dtype=object),
    ],
)
def test_a_label_is_what_an_id_may_be(ranker, tasks, labels, tmp_path):
    X, y, *_ = tasks[-1]
    given = np.repeat(labels, N_OFFERS)
    with TaskBank(ranker, tmp_path / "bank") as bank:
        bank.update(X, y, task="ann", choice_set=given)
    with TaskBank(ranker, tmp_path / "bank") as bank:
        kept = bank.rows_of("ann")
        np.testing.assert_array_equal(kept.X, X)
        np.testing.assert_array_equal(kept.y, y)
        if labels.dtype.kind != "M":
            assert kept.choice_set.tolist() == given.tolist()
        with pytest.raises(ValueError, match="already"):
            bank.update(X[:3], y[:3], task="ann", choice_set=given[:3])
        bank.remove(X[:3], y[:3], task="ann", choice_set=given[:3])
        assert len(bank.rows_of("ann").y) == len(y) - 3
        other = TaskBank(ranker).update(**bank.rows_of("ann"), task="ann")
        np.testing.assert_array_equal(
            other.predict(X, task="ann"), bank.predict(X, task="ann")
        )


def test_sets_are_removed_as_a_whole(bank, ranker, tasks):
    X, y, _, labels = tasks[-1]
    give(bank, "ann", tasks[-1])
    shuffled = np.random.default_rng(0).permutation(len(y))
    some = shuffled[labels[shuffled] >= 2]
    for bad in (some[:-1], np.arange(2)):  # not whole, or not the rows
        with pytest.raises(ValueError, match="a choice set to be removed"):
            bank.remove(X[bad], y[bad], task="ann", choice_set=labels[bad])
    with pytest.raises(ValueError, match="a choice set to be removed"):
        bank.remove(X[some], y[some], task="ann", choice_set=labels[some] + 1)
    bank.remove(X[some], y[some], task="ann", choice_set=labels[some])
    adapted = ranker.adapt(X[:6], y[:6], choice_set=labels[:6])
    np.testing.assert_allclose(bank.predict(X, task="ann"), adapted.predict(X))
    bank.remove(X[:6], y[:6], task="ann", choice_set=labels[:6])
    assert "ann" not in bank


@pytest.mark.parametrize(("most", "n_kept"), [(1, 3), (5, 3), (6, 6), (17, 15)])
def test_the_newest_whole_sets_are_kept(ranker, tasks, most, n_kept):
    X, _, _, labels = tasks[-1]
    bank = TaskBank(ranker, max_rows=most)
    give(give(bank, "ann", tasks[-1], [3, 4, 5]), "ann", tasks[-1], [0, 1, 2])
    order = np.concatenate([np.arange(9, 18), np.arange(9)])[-n_kept:]
    kept = bank.rows_of("ann")
    np.testing.assert_array_equal(kept.X, X[order])
    np.testing.assert_array_equal(kept.choice_set, labels[order])


def test_a_set_that_says_nothing_changes_nothing(bank, tasks):
    X, y, _, labels = tasks[-1]
    with pytest.raises(ValueError, match=r"'ann'.*outside_option"):
        bank.update(X[:3], np.zeros(3), task="ann", choice_set=labels[:3])
    assert "ann" not in bank
    with pytest.warns(UserWarning, match="say nothing"):
        bank.update(X, np.where(labels == 1, 0, y), task="ann", choice_set=labels)
    assert sorted(set(bank.rows_of("ann").choice_set)) == [0, 2, 3, 4, 5]


def test_weights_say_how_often_a_set_counts(bank, ranker, tasks):
    X, y, _, labels = tasks[-1]
    weight = 1.0 + labels
    bank.update(X, y, weight, task="ann", choice_set=labels)
    adapted = ranker.adapt(X, y, weight, choice_set=labels)
    np.testing.assert_allclose(bank.predict(X, task="ann"), adapted.predict(X))
    weight[0] += 1
    with pytest.raises(ValueError, match=r"[Cc]hoice set 0 of task 'bob'"):
        bank.update(X, y, weight, task="bob", choice_set=labels)
    assert "bob" not in bank


def test_none_of_the_offers_may_be_chosen(tasks):
    none = [(X, y * (c != 2), w, c) for X, y, w, c in tasks]
    ranker = EmpiricalBayesRanker("isotropic", outside_option=True, random_state=0)
    ranker.meta_fit(none[:12])
    bank = give(TaskBank(ranker), "ann", none[-1])
    X, y, _, labels = none[-1]
    adapted = ranker.adapt(X, y, choice_set=labels)
    p = bank.predict_proba(X, task="ann")
    assert p.sum() < 1
    np.testing.assert_allclose(p, adapted.predict_proba(X))


def test_the_score_is_that_of_the_adapted_model(bank, ranker, tasks):
    for id, task in zip("ab", tasks[-2:], strict=True):
        give(bank, id, task, [0, 1, 2])
    X, y, _, labels = tasks[-1]
    new = labels > 2
    adapted = bank.model_of("b")
    assert bank.score(
        X[new], y[new], task="b", choice_set=labels[new]
    ) == pytest.approx(adapted.score(X[new], y[new], choice_set=labels[new]))
    both = np.repeat(list("ab"), new.sum())
    X, y = (np.concatenate([t[i][new] for t in tasks[-2:]]) for i in (0, 1))
    labels = np.tile(labels[new], 2)
    p = bank.predict_proba(X, task=both, choice_set=labels)
    explained = 1 - np.log(p[y == 1]).mean() / np.log(1 / N_OFFERS)
    found = bank.score(X, y, task=both, choice_set=labels)
    assert found == pytest.approx(explained)


def test_screens_are_suggested(bank, tasks):
    give(bank, "ann", tasks[-1], [0])
    X, labels = tasks[0][0], LABELS + 100
    chosen = bank.suggest_queries(X, 2, task="ann", choice_set=labels)
    model = bank.model_of("ann")
    np.testing.assert_array_equal(
        chosen, model.suggest_queries(X, 2, choice_set=labels)
    )
    assert set(chosen) < set(labels)


def test_compositions_stores_and_pickles(ranker, tasks, tmp_path):
    pipe = make_pipeline(StandardScaler(), EmpiricalBayesRanker("isotropic"))
    pipe = meta_fit(pipe, tasks[:12])
    X, y, _, labels = tasks[-1]
    adapted = adapt(pipe, X, y, choice_set=labels)
    for store in (None, {}, tmp_path / "bank"):
        bank = TaskBank(pipe, store)
        for number in range(N_SETS):
            give(bank, "ann", tasks[-1], [number])
        joblib.dump(bank, tmp_path / "saved")
        for one in (bank, joblib.load(tmp_path / "saved")):
            np.testing.assert_allclose(one.predict(X, task="ann"), adapted.predict(X))
        bank.close()
    bank = TaskBank(ranker)
    bank.update(sparse.csr_matrix(X), y, task="ann", choice_set=labels)
    np.testing.assert_allclose(
        bank.predict(sparse.csr_matrix(X), task="ann"),
        give(TaskBank(ranker), "ann", tasks[-1]).predict(X, task="ann"),
    )


def test_a_prior_is_learned_anew_from_the_sets(bank, tasks):
    for number, task in enumerate(tasks):
        give(bank, number, task)
    again = bank.refit()
    fitted = EmpiricalBayesRanker("isotropic", random_state=0).meta_fit(tasks)
    X = tasks[0][0]
    np.testing.assert_allclose(again.model_of(-1).predict(X), fitted.predict(X))
    assert len(again) == len(tasks)
    assert "x0" in again.to_frame()


def test_other_models_have_no_choice_sets():
    tasks = make_linear_tasks(6, 6, 2, random_state=0)
    bank = TaskBank(EmpiricalBayesRegressor("isotropic").meta_fit(tasks))
    X, y = tasks[0]
    for call in (
        lambda: bank.update(X, y, task=1, choice_set=y),
        lambda: bank.score(X, y, task=1, choice_set=y),
        lambda: bank.suggest_queries(X, task=1, choice_set=y),
    ):
        with pytest.raises(TypeError, match="Regressor does not learn from choices"):
            call()
    assert len(bank) == 0
    assert not hasattr(bank, "rank")


def test_a_bank_shows_the_rows_that_it_keeps(bank, tasks):
    give(bank, "ann", tasks[-1], [5, 1])
    kept = bank.rows_of("ann")
    np.testing.assert_array_equal(kept.choice_set, [1, 1, 1, 5, 5, 5])
    with pytest.raises(ValueError, match="Task 'bob' is not in the bank"):
        bank.rows_of("bob")
    answers = make_linear_tasks(6, 6, 2, kind="classification", random_state=0)
    classifier = EmpiricalBayesClassifier("intercept").meta_fit(answers)
    labelled = TaskBank(classifier).update(*answers[0], task=1)
    kept = labelled.rows_of(1)
    assert list(kept) == ["X", "y", "sample_weight"]
    np.testing.assert_array_equal(kept.y, answers[0][1])
    numbers = make_linear_tasks(6, 6, 2, random_state=0)
    sums = TaskBank(EmpiricalBayesRegressor("isotropic").meta_fit(numbers))
    with pytest.raises(ValueError, match="keeps sums"):
        sums.update(*numbers[0], task=1).rows_of(1)


def test_rows_that_were_transformed_are_not_taken_for_rows_to_transform():
    answers = make_linear_tasks(6, 6, 2, kind="classification", random_state=0)
    classifier = EmpiricalBayesClassifier("intercept", random_state=0)
    pipe = meta_fit(make_pipeline(StandardScaler(), classifier), answers)
    bank = TaskBank(pipe).update(*answers[0], task=1)
    kept = bank.rows_of(1)
    assert list(kept) == ["X_transformed", "y", "sample_weight"]
    with pytest.raises(TypeError, match="X_transformed"):
        TaskBank(pipe).update(**kept, task=1)
    moved = TaskBank(pipe[-1]).update(kept.X_transformed, kept.y, task=1)
    np.testing.assert_allclose(moved.model_of(1).coef_, bank.model_of(1)[-1].coef_)
    plain = meta_fit(make_pipeline("passthrough", classifier), answers)
    assert "X" in TaskBank(plain).update(*answers[0], task=1).rows_of(1)
