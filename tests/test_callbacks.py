"""scikit-learn's callbacks around the meta-iterations; without them, nothing breaks."""

import pickle

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

from skmeta import (
    ChosenBase,
    EmpiricalBayesClassifier,
    EmpiricalBayesPoissonRegressor,
    EmpiricalBayesRegressor,
    LearnedFeatures,
    PrototypicalClassifier,
    ReptileClassifier,
    ReptileRegressor,
    meta_fit,
)
from skmeta.exceptions import ZeroShotWarning
from skmeta.model_selection import make_few_shot_scorer

HAS_CALLBACKS = parse_version(sklearn.__version__) >= parse_version("1.9")
needs_callbacks = pytest.mark.skipif(
    not HAS_CALLBACKS, reason="scikit-learn has callbacks since 1.9"
)


def reptile(**params):
    return ReptileRegressor(**{"max_iter": 6, "random_state": 0} | params)


class Recorder:
    """Remembers the tasks whose end is reported; stops the run at the third."""

    def __init__(self, stop_at=None):
        self.stop_at = stop_at
        self.calls = []
        self.fitted = None

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.calls.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.calls.append(f"end {context.task_name}")
        self.fitted = fitted_estimator or self.fitted
        return len(self.ended) == self.stop_at

    @property
    def ended(self):
        return [call for call in self.calls if call == "end meta-iteration"]


def test_without_callbacks_models_fit_adapt_and_are_pickled(linear_tasks):
    model = reptile().meta_fit(linear_tasks)
    assert model.n_iter_ == 6
    assert hasattr(model, "set_callbacks") is HAS_CALLBACKS
    pickle.loads(pickle.dumps(model)).adapt(*linear_tasks[0])


@needs_callbacks
def test_a_callback_is_called_at_every_meta_iteration(linear_tasks):
    recorder = Recorder()
    reptile().set_callbacks(recorder).meta_fit(linear_tasks)
    begin, *middle, end, last = recorder.calls[1:]
    assert (recorder.calls[0], begin, end, last) == (
        "setup",
        "begin fit",
        "end fit",
        "teardown",
    )
    assert middle == ["begin meta-iteration", "end meta-iteration"] * 6


@needs_callbacks
def test_a_callback_changes_nothing_in_the_model(linear_tasks):
    X, y = linear_tasks[0]
    watched = reptile().set_callbacks(Recorder()).meta_fit(linear_tasks)
    plain = reptile().meta_fit(linear_tasks)
    assert_array_equal(watched.adapt(X, y).predict(X), plain.adapt(X, y).predict(X))


@needs_callbacks
def test_a_callback_can_stop_the_run(linear_tasks):
    model = reptile().set_callbacks(Recorder(stop_at=3)).meta_fit(linear_tasks)
    assert model.n_iter_ == len(model.loss_curve_) == 3


@needs_callbacks
def test_a_fit_that_also_chooses_the_number_of_steps_is_one_fit(linear_tasks):
    recorder = Recorder()
    reptile(adapt_steps="auto").set_callbacks(recorder).meta_fit(linear_tasks)
    assert recorder.calls.count("setup") == recorder.calls.count("teardown") == 1
    assert recorder.calls.count("begin fit") == recorder.calls.count("end fit") == 1


FEATURES = LearnedFeatures((4,), n_components=2, max_iter=5)
RIDGE = ChosenBase(candidates={"none": None, "ridge": Ridge()}, n_support=2)
PARTS = ["structures", "all tasks", "errors"]
PRIORS = {
    "numbers": (EmpiricalBayesRegressor("isotropic"), PARTS),
    "labels": (EmpiricalBayesClassifier("intercept"), PARTS),
    "counts": (EmpiricalBayesPoissonRegressor("intercept"), PARTS),
    "features": (
        EmpiricalBayesRegressor("intercept", features=FEATURES),
        ["structures", "all tasks", "features", "errors"],
    ),
    "base model": (
        EmpiricalBayesRegressor("intercept", base_estimator=RIDGE),
        ["base models", "meta-training"],
    ),
}


class Parts(Recorder):
    """Remembers the parts of a fit, and how many steps each has and may have."""

    def setup(self, estimator, context):
        super().setup(estimator, context)
        self.fit = context

    @property
    def names(self):
        return [part.task_name for part in self.fit._children_map.values()]

    def steps(self, name):
        steps = self.part(name)._children_map.values()
        return [step.task_name for step in steps]

    def part(self, name):
        return self.fit._children_map[self.names.index(name)]


@needs_callbacks
@pytest.mark.parametrize("kind", PRIORS)
def test_a_callback_hears_of_the_parts_of_learning_a_prior(kind, label_tasks):
    model, parts = PRIORS[kind]
    recorder, watched = Parts(), clone(model).set_params(random_state=0)
    tasks = label_tasks[:6]  # these are enough to hold some out
    watched.set_callbacks(recorder).meta_fit(tasks)
    assert recorder.names == parts
    assert recorder.fit.max_subtasks == len(parts)
    assert recorder.calls.count("setup") == recorder.calls.count("teardown") == 1
    assert recorder.calls[-2:] == ["end fit", "teardown"]
    X, y = label_tasks[0]
    plain = clone(model).set_params(random_state=0).meta_fit(tasks)
    expected = plain.adapt(X, y).predict(X)
    assert_array_equal(watched.adapt(X, y).predict(X), expected)
    assert_array_equal(recorder.fitted.adapt(X, y).predict(X), expected)


@needs_callbacks
def test_each_fit_of_a_structure_and_each_fold_is_a_step(linear_tasks):
    recorder = Parts()
    EmpiricalBayesRegressor("diagonal").set_callbacks(recorder).meta_fit(linear_tasks)
    assert recorder.steps("structures") == ["diagonal", *["fold"] * 5]
    assert recorder.part("structures").max_subtasks >= 6


@needs_callbacks
def test_each_meta_iteration_of_learned_features_is_a_step(linear_tasks):
    recorder = Parts()
    model = EmpiricalBayesRegressor("intercept", features=FEATURES, random_state=0)
    model.set_callbacks(recorder).meta_fit(linear_tasks)
    runs = list(recorder.part("features")._children_map.values())[:5]  # of the folds
    assert [run.task_name for run in runs] == ["run"] * 5
    assert all(len(run._children_map) == run.max_subtasks == 5 for run in runs)


@needs_callbacks
def test_each_candidate_for_the_base_model_is_a_step(linear_tasks):
    recorder = Parts()
    model = ReptileRegressor(base_estimator=RIDGE, max_iter=6)
    model.set_callbacks(recorder).meta_fit(linear_tasks)
    assert recorder.steps("base models") == ["none", "ridge"]
    assert recorder.steps("meta-training") == ["meta-iteration"] * 6
    assert recorder.calls.count("setup") == recorder.calls.count("teardown") == 1


@needs_callbacks
def test_a_single_task_is_learned_in_two_parts(linear_tasks):
    recorder = Parts()
    EmpiricalBayesRegressor().set_callbacks(recorder).fit(*linear_tasks[0])
    assert recorder.names == ["prior", "errors"]


@needs_callbacks
@pytest.mark.parametrize("one_task", [True, False])
@pytest.mark.parametrize("hidden", [(), (4,)])
def test_prototypes_report_iterations_and_can_be_stopped(hidden, one_task, label_tasks):
    recorder = Recorder(stop_at=3)
    model = PrototypicalClassifier(hidden, max_iter=6, random_state=0)
    model.set_callbacks(recorder)
    X, y = label_tasks[0]
    model.fit(X, y) if one_task else model.meta_fit(label_tasks)
    assert model.n_iter_ == len(recorder.ended) == (3 if hidden else 1)
    assert recorder.fitted.n_iter_ == model.n_iter_
    seen = recorder.fitted if one_task else recorder.fitted.adapt(X[:9], y[:9])
    same = model if one_task else model.adapt(X[:9], y[:9])
    assert_array_equal(seen.predict(X), same.predict(X))


@needs_callbacks
@pytest.mark.parametrize("kind", ["regressor", "classifier", "own classes"])
def test_a_callback_sees_a_model_that_can_predict_and_adapt(kind, label_tasks):
    model = {
        "regressor": reptile,
        "classifier": lambda: ReptileClassifier(max_iter=6, random_state=0),
        "own classes": lambda: ReptileClassifier(task_classes="own", max_iter=6),
    }[kind]()
    recorder = Recorder(stop_at=3)
    model.set_callbacks(recorder).meta_fit(label_tasks)
    X, y = label_tasks[0]
    assert recorder.fitted.n_iter_ == 3
    assert recorder.fitted.n_features_in_ == 3
    assert_array_equal(
        recorder.fitted.adapt(X[:5], y[:5]).predict(X),
        model.adapt(X[:5], y[:5]).predict(X),
    )


@needs_callbacks
def test_a_monitor_gives_the_few_shot_and_the_zero_shot_score_of_each_iteration(
    linear_table,
):
    from sklearn.callback import ScoringMonitor

    t = linear_table
    few = make_few_shot_scorer("r2")
    monitor = ScoringMonitor(scoring={"few": few, "zero": "r2"})
    with (
        sklearn.config_context(enable_metadata_routing=True),
        pytest.warns(ZeroShotWarning),
    ):
        model = reptile().set_callbacks(monitor).fit(t.X, t.y, task=t.ids)
        zero_shot = sklearn.metrics.get_scorer("r2")(model, t.X, t.y)
    rows = [
        row for row in monitor.get_logs().data if row["task_name"] == "meta-iteration"
    ]
    assert len(rows) == 6
    assert rows[-1]["few"] > rows[-1]["zero"]
    assert_allclose(rows[-1]["few"], few(model, t.X, t.y, task=t.ids))
    assert_allclose(rows[-1]["zero"], zero_shot)


@needs_callbacks
def test_a_progress_bar_runs_alone_and_nested(linear_tasks, capsys, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "300")  # this is wide enough for nested names
    from sklearn.callback import ProgressBar

    with sklearn.config_context(enable_metadata_routing=True):
        cv = GroupKFold(2).set_split_request(groups="task")
    pipe = make_pipeline(StandardScaler(), reptile())
    search = GridSearchCV(
        make_pipeline(StandardScaler(), reptile()),
        {"reptileregressor__inner_steps": [1, 10]},
        cv=cv,
        scoring=make_few_shot_scorer(n_repeats=1),
        error_score="raise",
    )
    for estimator in (reptile(), pipe, search, EmpiricalBayesRegressor()):
        meta_fit(
            estimator.set_callbacks(ProgressBar(max_propagation_depth=None)),
            linear_tasks,
        )
        shown = capsys.readouterr().out
        assert "Regressor - fit" in shown
        assert ("structures" in shown) == ("EmpiricalBayes" in shown)


@needs_callbacks
def test_a_model_with_a_callback_can_be_pickled(linear_tasks):
    from sklearn.callback import ScoringMonitor

    monitor = ScoringMonitor(scoring={"few": make_few_shot_scorer("r2")})
    X, y = linear_tasks[0]
    model = reptile().set_callbacks(monitor).meta_fit(linear_tasks)
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.predict(X), model.predict(X))
    adapted = pickle.loads(pickle.dumps(model.adapt(X, y)))
    assert_array_equal(adapted.predict(X), model.adapt(X, y).predict(X))


@needs_callbacks
def test_a_callback_is_torn_down_when_a_fit_fails(linear_tasks):
    recorder = Recorder()
    model = reptile().set_callbacks(recorder)
    with pytest.raises(ValueError):
        model.meta_fit([(X, y * np.nan) for X, y in linear_tasks])
    model.meta_fit(linear_tasks)
    assert recorder.calls[-1] == "teardown"


@needs_callbacks
@pytest.mark.parametrize(
    "model",
    [reptile(), EmpiricalBayesRegressor("intercept"), EmpiricalBayesClassifier()],
)
def test_a_callback_is_torn_down_after_each_portion_of_a_stream(model, label_tasks):
    recorder, model = Recorder(), clone(model)
    model.set_callbacks(recorder).partial_meta_fit(label_tasks[:3])
    model.partial_meta_fit(label_tasks[3:4])
    assert recorder.calls.count("setup") == recorder.calls.count("teardown") == 2
    assert recorder.calls[-1] == "teardown"


@needs_callbacks
@pytest.mark.parametrize("model", [reptile(), EmpiricalBayesRegressor("intercept")])
def test_a_callback_is_torn_down_when_a_fit_is_interrupted(model, linear_tasks):
    class Interrupting(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise KeyboardInterrupt

    recorder, model = Interrupting(), clone(model)
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(recorder).meta_fit(linear_tasks)
    assert recorder.calls.count("setup") == recorder.calls.count("teardown") == 1
    assert recorder.calls[-1] == "teardown"
    assert set(vars(model)) == {*model.get_params(deep=False), "_skl_callbacks"}
