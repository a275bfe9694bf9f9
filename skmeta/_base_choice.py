"""The choice of a base model: each candidate is tried on held-out tasks."""

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.base import clone
from sklearn.utils import _safe_indexing, check_random_state, get_tags

from skmeta._base_model import base_offsets, check_kind_of_base, scaled_offset
from skmeta._callbacks import preparing
from skmeta._checks.scorers import scoring_on_purpose
from skmeta._copies import OF_CALLBACKS, set_or_remove
from skmeta._core.prior.held_out import log_scores
from skmeta._core.prior.learn import learn_and_measure
from skmeta._core.tasks import TaskTable
from skmeta._frame import Frame
from skmeta._tables import answered, numbers_of, of_type, table_of
from skmeta._task_input import SortedRows, canonical
from skmeta._threads import on_one_blas_thread
from skmeta._warn import warn
from skmeta.chosen_base import default_candidates, how_to_choose, numbers_of_rows
from skmeta.learned_features import feature_options

NONE = "none"
# With fewer tasks no base model is chosen.
MIN_TASKS = 5
# Whether a candidate takes a table is tried on so many rows.
ROWS_TO_TRY = 30
# Candidates are compared on at most so many tasks, ...
MAX_TASKS = 150
# ... and for that, base models are fitted to at most so many rows.
MAX_ROWS = 15_000
# At most this many rows of a task take part if there are many tasks.
MAX_TASK_ROWS = 400
# Rows of a task are given and asked for so many times: more often if tasks are few.
MAX_DRAWS, DRAWS_IN_ALL = 8, 300
# A number of rows is tried if so many tasks have more rows.
MIN_SCORED = 5
# A meta-learner without folds of its own is trained so many times per candidate, ...
N_REFITS = 3
# ... and asked for at most this many rows of a task.
MAX_ASKED = 50
# A base model must be better than none by more than so many standard errors.
ERRORS_AHEAD = 0.5
# Before adapting, another base model must be better by more than so many.
ERRORS_AHEAD_AT_ZERO = 1.0


# -- candidates -----------------------------------------------------------------------


class Candidate(NamedTuple):
    """A base model to try, and other parameters that go with it."""

    label: str
    parameters: dict


def takes_sparse_rows(base):
    """Whether a base model can be fitted to sparse rows.

    In scikit-learn 1.6 most tags do not say that a model can, so a few rows are tried.
    """
    if get_tags(base).input_tags.sparse:
        return True
    try:
        clone(base).fit(csr_array(np.eye(4)), np.arange(4) % 2)
    except TypeError:
        return False
    except Exception:  # sparse rows were not the reason
        pass
    return True


def takes_table(base, table):
    """Whether a base model can be fitted to some rows of a table, if it has codes."""
    head = _safe_indexing(table, np.arange(min(table.shape[0], ROWS_TO_TRY)))
    try:
        clone(base).fit(head, np.arange(head.shape[0]) % 2)
    except Exception:
        return False
    return True


def _default_candidates(model, targets, table):
    """Those that cannot be fitted to the table stand behind the preprocessor."""
    given = default_candidates(targets.are_labels, targets.positive_only)
    before = model._parameter("linear_preprocessor")
    if before is None:
        return given
    # This is imported here, since it takes longer to import than skmeta itself.
    from sklearn.pipeline import make_pipeline

    return {
        label: base if takes_table(base, table) else make_pipeline(clone(before), base)
        for label, base in given.items()
    }


def candidates_of(model, targets, asked, table):
    """The candidates, from simple to rich; the first one is no base model.

    Those that cannot take sparse rows are left out, with a warning.
    """
    given, sparse = asked.candidates, issparse(table)
    if given is None:
        given = _default_candidates(model, targets, table)
    found, left_out = [Candidate(NONE, {"base_estimator": None})], []
    for label, base in given.items():
        if base is None:
            found[0] = found[0]._replace(label=label)
            continue
        check_kind_of_base(model, targets, base)
        if sparse and not takes_sparse_rows(base):
            left_out.append(label)
            continue
        found.append(Candidate(label, {"base_estimator": base}))
    if asked.candidates is None:
        found += [
            Candidate(label + way, {"base_estimator": given[label], **parameters})
            for label, way, parameters in _variants(model, targets)
            if label not in left_out
        ]
    if left_out:
        warn(
            f"X is sparse, and the base models {left_out} cannot take sparse rows: "
            f"the choice is among {[candidate.label for candidate in found]}. Pass "
            "ChosenBase(candidates={...}) with models that can, or pass X.toarray()."
        )
    return found


def _variants(model, targets):
    """Other ways to use the default candidates: (label, what is added, parameters)."""
    if getattr(model, "base_target", "y") == "residual":
        of_y = {"base_target": "y"}
        yield "boosting", " of y", of_y
        yield "forest", " of y", of_y
    free = getattr(model, "prior", None) == "auto" and model.fit_intercept
    if targets.are_labels and free:
        yield "boosting", ", offsets", {"prior": "intercept"}


# -- the tasks that candidates are tried on -------------------------------------------


@dataclass(frozen=True)
class Sample:
    """Rows of some tasks, sorted by task, and how they are given and asked for.

    Base models are fitted to all these rows, and candidates are compared on the tasks
    ``scored``. ``is_all`` says whether these are all rows that there are. See `Trial`
    for the others.
    """

    rows: SortedRows
    ids: np.ndarray
    scored: np.ndarray
    given: list
    orders: list
    is_all: bool

    @property
    def codes(self):
        starts = self.rows.starts
        return np.repeat(np.arange(len(starts) - 1), np.diff(starts))


def draw_sample(rows, targets, n_support, rng, times=None):
    """The `Sample` of validated rows.

    If there are ``times`` (n_rows,), the first rows of a task are given and the next
    ones asked for.
    """
    order, starts, ids = canonical(rows, targets.order_key, times)
    sizes = np.diff(starts)
    tasks, parts = np.arange(len(ids)), None
    if is_all := len(order) <= MAX_ROWS:
        parts = np.split(order, starts[1:-1])
    else:
        most = max(MAX_TASK_ROWS, MAX_ROWS // len(ids))
        tasks = rng.permutation(len(ids))
        n_rows = np.cumsum(np.minimum(sizes[tasks], most))
        n_tasks = max(MIN_TASKS, np.searchsorted(n_rows, MAX_ROWS, side="right"))
        tasks = np.sort(tasks[:n_tasks])
        parts = [
            np.sort(rng.permutation(order[starts[t] : starts[t + 1]])[:most])
            for t in tasks
        ]
    sizes, kept = np.array([len(part) for part in parts]), np.concatenate(parts)
    scored = np.arange(len(tasks))
    if len(scored) > MAX_TASKS:
        scored = rng.permutation(len(tasks))
        # tasks that have rows left after most numbers of rows come first
        tells = np.minimum(sizes[scored], max(n_support) + 1)
        scored = np.sort(scored[np.argsort(-tells, kind="stable")][:MAX_TASKS])
    n_draws = int(np.clip(DRAWS_IN_ALL // len(scored), 1, MAX_DRAWS))
    few = min(MIN_SCORED, len(scored))
    orders = [rng.uniform(size=(n_draws, n)).argsort(axis=1) for n in sizes[scored]]
    if times is not None:
        orders = [np.arange(n)[None] for n in sizes[scored]]
    given = [k for k in n_support if k > 0 and (sizes[scored] > k).sum() >= few]
    return Sample(
        SortedRows(
            rows.X[kept],
            rows.y[kept],
            rows.weight[kept],
            np.concatenate([[0], np.cumsum(sizes)]),
        ),
        ids[tasks],
        scored,
        [0, *given],
        orders,
        is_all,
    )


@dataclass(frozen=True)
class Trial:
    """What a candidate leaves to learn in the scored tasks, and how to score it.

    Attributes
    ----------
    table : TaskTable
    rows : SortedRows
        The same rows as the user gave them.
    offset : ndarray of shape (n_rows, n_outputs) or None
        The base model's out-of-task predictions for these rows, not scaled.
    ids : ndarray of shape (n_tasks,)
    given : list of int
        Numbers of rows to give.
    orders : list of ndarray of shape (n_draws, n)
        Orders of the rows of each task, of which the first are given.
    seed : int
    """

    table: TaskTable
    rows: SortedRows
    offset: np.ndarray | None
    ids: np.ndarray
    given: list
    orders: list
    seed: int


# -- the choice -----------------------------------------------------------------------


class Choice(NamedTuple):
    """What held-out tasks choose.

    Attributes
    ----------
    chosen : Candidate
    before : Candidate
        The one that predicts before adapting.
    scores : dict
        By label and number of rows, ``base_scores_``.
    offsets : dict
        By label, the `BaseOffsets` of all canonical rows, if they are known.
    """

    chosen: Candidate
    before: Candidate
    scores: dict
    offsets: dict


@contextmanager
def base_chosen(model, rows, targets, again, data):
    """Within this block the parameters of a model are those of the base chosen for it.

    Yields its `BaseOffsets` for the canonical rows, or None if they are not known.
    ``data`` is a dict for callbacks, which hear of each candidate.
    """
    asked = how_to_choose(model._parameter("base_estimator"))
    if again or asked is None:
        del rows  # what follows needs the memory
        if not again:
            set_or_remove(
                model, base_choice_=None, base_scores_=None, zero_shot_model_=None
            )
        yield None
        return
    with preparing(model, **data) as progress:
        found = _choose(model, rows, targets, asked, progress)
        with _used(model, rows, targets, found) as known:
            del rows
            yield known


@contextmanager
def _used(model, rows, targets, found):
    """Within this block the parameters of a model are those of a `Choice`."""
    first = None
    if found.before != found.chosen:
        known = found.offsets.get(found.before.label)
        first = _with(model, found.before.parameters)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the fit that follows warns
            _fit(first, rows, targets, known)
    del rows
    parameters = found.chosen.parameters
    given = {name: getattr(model, name) for name in parameters}
    vars(model).update(parameters)
    try:
        yield found.offsets.get(found.chosen.label)
    finally:
        vars(model).update(given)
    set_or_remove(
        model,
        base_choice_=found.chosen.label,
        base_scores_=found.scores,
        zero_shot_model_=first,
    )
    if first is not None:
        model.zero_shot_ = "base"


def _fit(model, rows, targets, known):
    """Fit a copy of a model to validated rows."""
    made = model._training_data(rows, targets, False, known)
    keep(model, made)
    model._meta_train(made.table, made.ids, False, {})


def keep(model, made, again=False):
    """Set the fitted attributes that a `TrainingData` holds."""
    model._frame = made.frame
    set_or_remove(model, classes_=made.classes)
    if not again:
        fitted, scale, _ = made.base
        set_or_remove(model, base_estimator_=fitted, base_scale_=scale, stream_=None)
    model.n_tasks_ = made.table.n_tasks + (model.n_tasks_ if again else 0)
    model.n_adapt_rows_ = 0


def before_adapting(method):
    """Decorator of a method that predicts: ``zero_shot_model_`` answers, if any."""

    @wraps(method)
    def predicting(self, X, *args, **kwargs):
        first = getattr(self, "zero_shot_model_", None)
        if first is None or self.n_adapt_rows_:
            return method(self, X, *args, **kwargs)
        X = self._validate_new(X)
        with scoring_on_purpose():
            return getattr(first, method.__name__)(X, *args, **kwargs)

    return predicting


def _choose(model, rows, targets, asked, progress):
    """The `Choice` for a model that is not fitted yet."""
    candidates = candidates_of(model, targets, asked, table_of(rows.X))
    none = candidates[0]
    n_tasks = len(np.unique(rows.codes[rows.weight > 0]))
    if n_tasks < MIN_TASKS:
        warn(
            f"base_estimator={model.base_estimator!r} compares base models on held-out "
            f"tasks, which needs {MIN_TASKS} tasks or more; got {n_tasks}. No base "
            "model is used. Pass one, or set base_estimator=None, or pass the rows' "
            "task ids."
        )
        return Choice(none, none, {}, {})
    rng = check_random_state(model._parameter("random_state"))
    seed = int(rng.randint(2**31 - 1))
    n_support = numbers_of_rows(asked.n_support)
    times, rng = model._times_of(rows.X), np.random.RandomState(seed)
    sample = draw_sample(rows, targets, n_support, rng, times)
    table, offsets, targets_of = {}, {}, {}
    with progress.part("base models", len(candidates)) as part:
        for candidate in candidates:
            probe = _with(model, candidate.parameters)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the fit that follows warns
                found, trial = _tried(probe, sample, targets, seed, targets_of)
                table[candidate.label] = probe._held_out_scores(trial)
            if sample.is_all and found is not None:
                offsets[candidate.label] = found
            part.step(candidate.label)
    by_label = {candidate.label: candidate for candidate in candidates}
    wanted = [k in n_support for k in sample.given]
    wanted[0] |= not any(wanted)  # no task has as many rows
    chosen = before = best(table, wanted, none.label, ERRORS_AHEAD)
    if model._has_zero_shot_model:
        at_zero = [k == 0 for k in sample.given]
        before = best(table, at_zero, chosen, ERRORS_AHEAD_AT_ZERO)
    scores = {
        label: {
            k: float(np.nanmean(column))
            for k, column in zip(sample.given, of_label.T, strict=True)
        }
        for label, of_label in table.items()
    }
    return Choice(by_label[chosen], by_label[before], scores, offsets)


def _with(model, parameters):
    """A copy of an unfitted model with other parameters."""
    probe = object.__new__(type(model))
    vars(probe).update(vars(model))
    vars(probe).update(parameters)
    for name in ("_skl_callbacks", *OF_CALLBACKS):  # they hear of the model alone
        vars(probe).pop(name, None)
    return probe


def _tried(probe, sample, targets, seed, targets_of):
    """The `BaseOffsets` of a candidate and its `Trial`; ``probe`` gets its frame.

    ``targets_of`` are the targets of base models that are known already.
    """
    X, y, weight, starts = sample.rows
    fitted, coded = targets.fit(y, starts)
    fitted = fitted.learn_weights(y, weight)
    counted = fitted.weighted(y, weight)
    found = offset = None
    if probe.base_estimator is not None:
        kind = getattr(probe, "base_target", None)
        found = base_offsets(
            probe, fitted, X, y, counted, sample.codes, targets_of.get(kind)
        )
        targets_of[kind] = found.target
        scale, offset = scaled_offset(fitted, X, y, counted, found.offset)
        set_or_remove(probe, base_scale_=scale)
    Y, offset = fitted.correct(coded.Y, offset)
    probe._frame = Frame(probe._fit_scaling(fitted, X, Y, counted), fitted)
    set_or_remove(probe, classes_=coded.classes)
    table = probe._frame.table(X, coded._replace(Y=Y), offset, counted, starts)
    if len(sample.scored) < len(starts) - 1:
        table = table.subset(sample.scored)
    some = np.concatenate([np.arange(starts[t], starts[t + 1]) for t in sample.scored])
    rows = SortedRows(X[some], y[some], weight[some], table.starts)
    raw = None if found is None else found.offset[some]
    # what is called the base model has said nothing else than these offsets
    rows = rows._replace(X=answered(numbers_of(rows.X), object(), raw))
    trial = Trial(
        table, rows, raw, sample.ids[sample.scored], sample.given, sample.orders, seed
    )
    return found, trial


def best(table, columns, first, errors_ahead):
    """The label of the best candidate; the first one if none is clearly better.

    ``table`` holds by label the scores (T, sizes), NaN where a task has too few rows,
    and ``columns`` (sizes,) says which of them count.
    """
    of_first = table[first][:, columns]
    told = ~np.isnan(of_first).all(axis=1)
    leads = {
        label: np.nanmean((of_label[:, columns] - of_first)[told], axis=1)
        for label, of_label in table.items()
    }
    label = max(leads, key=lambda label: leads[label].mean())
    lead = leads[label]
    error = lead.std() / np.sqrt(len(lead))
    return label if lead.mean() > errors_ahead * error else first


# -- scores by the folds of a learned prior -------------------------------------------


@on_one_blas_thread
def scores_by_folds(model, trial):
    """Scores (T, sizes) of an empirical Bayes model, by the folds that it learns with.

    Features are learned without a base model only: it would take long to do so with
    each of them.
    """
    others = {"features": None} if trial.offset is not None else {}
    if hasattr(model, "noise"):  # the scores allow for tasks that differ in noise
        others["noise"] = "shared"
    model = _with(model, others)
    table, features = trial.table, feature_options(model.features)
    found = learn_and_measure(
        table,
        model._task_model(table),
        model._design(table),
        model._options(table, features),
        np.random.RandomState(trial.seed),
    )
    scores = log_scores(*found, trial.orders, trial.given)
    # a density of y is one per unit of y
    return scores - np.log(model._scaling.y_scale)


# -- scores by training anew ----------------------------------------------------------


def scores_by_refitting(model, trial):
    """Scores (T, sizes) of a meta-learner that is trained without some of the tasks.

    They are minus the log loss of labels, or minus the squared error of numbers.
    """
    rng = np.random.RandomState(trial.seed)
    n_tasks = trial.table.n_tasks
    scores = np.full((n_tasks, len(trial.given)), np.nan)
    for held_out in np.array_split(rng.permutation(n_tasks), N_REFITS):
        kept = np.setdiff1d(np.arange(n_tasks), held_out)
        probe = _trained(model, trial, kept)
        with scoring_on_purpose():
            for t in held_out:
                scores[t] = _scores_of_task(probe, trial, t)
    return scores


def _trained(model, trial, kept):
    """A copy of the model, trained on the tasks kept."""
    probe = _with(model, {"n_tasks_": len(kept), "n_adapt_rows_": 0})
    if hasattr(probe, "verbose"):
        probe.verbose = 0
    if trial.offset is not None:
        probe.base_estimator_ = trial.rows.X.source.base
    probe._meta_train(trial.table.subset(kept), trial.ids[kept], False, {})
    return probe


def _scores_of_task(probe, trial, task):
    """Scores (sizes,) of a task: means over draws of the rows given."""
    X, y, weight, starts = trial.rows
    X = of_type(X, probe._dtype)
    scores = np.full(len(trial.given), np.nan)
    for column, n_given in enumerate(trial.given):
        if starts[task + 1] - starts[task] <= n_given:
            continue
        drawn = []
        for order in starts[task] + trial.orders[task]:
            few, rest = order[:n_given], order[n_given : n_given + MAX_ASKED]
            adapted = probe
            if n_given:
                adapted = probe.adapt(X[few], y[few], weight[few])
            drawn.append(
                np.average(_score(adapted, X[rest], y[rest]), weights=weight[rest])
            )
        scores[column] = np.mean(drawn)
    return scores


def _score(adapted, X, y):
    """The score (n,) of each row."""
    if not adapted._targets.are_labels:
        return -((adapted.predict(X) - y) ** 2)
    P = adapted.predict_proba(X)
    right = P[np.arange(len(y)), np.searchsorted(adapted.classes_, y)]
    return np.log(np.maximum(right, np.finfo(float).tiny))
