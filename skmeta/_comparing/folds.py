"""Models fitted on the same folds, and scored on the same rows of each task."""

import re
import warnings
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import has_fit_parameter

from skmeta._base_model import remembering
from skmeta._checks.row_order import row_order_is_known
from skmeta._comparing.arguments import (
    ComparedRows,
    check_in_time,
    checked_baselines,
    checked_folds,
    checked_rows,
    checked_sizes,
    checked_stratify,
    kind_of_targets,
    named_estimators,
)
from skmeta._comparing.baselines import Baselines
from skmeta._comparing.kinds import ComparedTargets
from skmeta._comparing.result import BaselineComparison
from skmeta._compositions import (
    ask_base_once,
    first_meta_learner,
    how_targets_change,
    innermost,
    original_targets,
    rows_in_time,
    times_given,
    transformed_rows,
    transformed_targets,
    transforms_targets,
)
from skmeta._evaluation import BLOCK, BLOCK_TOGETHER, cut_points, score_block
from skmeta._known_tasks import keeping_no_tasks
from skmeta.adaptation import adapt_each, meta_fit


def compare(
    estimator,
    X,
    y,
    task,
    scorer_of,
    *,
    unit,
    choice_set,
    n_support,
    n_query,
    scoring,
    cv,
    n_repeats,
    baselines,
    pooled,
    in_time,
    stratify,
    random_state,
    n_jobs,
):
    """`compare_baselines`, with ``scorer_of(model, scoring)`` for the metric."""
    estimators = named_estimators(estimator)
    kind = kind_of_targets(estimators)
    data = checked_rows(X, y, task, unit, choice_set, kind)
    kind = kind.of(data.y, data.codes)
    stratify = checked_stratify(stratify, data.units, kind)
    sizes = checked_sizes(n_support, data, kind.n_way)
    names = checked_baselines(baselines, kind)
    folds, tested = checked_folds(data, cv, kind)
    scoring = kind.scoring if scoring is None else scoring
    how = {"n_query": n_query, "in_time": in_time, "stratify": stratify}
    trial = Trial(
        estimators=estimators,
        scorers={name: scorer_of(model, scoring) for name, model in estimators.items()},
        behind=baselines_behind(estimators, names),
        names=names,
        kind=kind,
        candidates=[pooled] if hasattr(pooled, "fit") else pooled,
        seed=check_random_state(random_state).randint(2**31 - 1),
        data=data,
        sizes=sizes,
        in_time=in_time,
        draws=draw_given_and_asked(data, sizes, n_repeats, seed=random_state, **how),
    )
    scores, chosen = run(trial, folds, n_jobs)
    return BaselineComparison(
        {name: table[tested] for name, table in scores.items()},
        list(estimators),
        sizes,
        data.ids[tested],
        scoring if isinstance(scoring, str) else getattr(scoring, "__name__", "score"),
        chosen,
        trial.behind,
        data.units.word,
    )


# -- rows to give and to ask ----------------------------------------------------------


class GivenAndAsked(NamedTuple):
    """Rows of a task in the order in which they are given, and the rows asked."""

    given: np.ndarray
    asked: np.ndarray
    ends: np.ndarray  # the number of rows that the first k units have

    def first(self, k):
        """The rows of the first k units."""
        return self.given[: self.ends[k]]


def draw_given_and_asked(data, sizes, n_repeats, *, n_query, in_time, stratify, seed):
    """Draws of each task, as lists of `GivenAndAsked`.

    The first k units in ``given`` are given for size k. The units asked are the same
    for all sizes: ``n_query`` of those after the largest size that leaves at least one
    to ask. With ``in_time`` each draw begins later in the task, and rows keep their
    order.
    """
    draws = []
    seeds = check_random_state(seed).randint(2**31, size=len(data.ids))
    order, starts = data.drawn, data.starts
    if in_time:
        order = data.units.in_time(order, starts, data.ids)
    for rows, task_seed in zip(np.split(order, starts[1:-1]), seeds, strict=True):
        rng, units = np.random.RandomState(task_seed), data.units.of(rows)
        n = max((k for k in sizes if k < len(units)), default=0)
        of_task = []
        for cut in cut_points(n, len(units), n_repeats, n_query):
            index = np.arange(len(units))
            index = index[cut - n :] if in_time else rng.permutation(index)
            if stratify:
                index = index[_round_robin(data.y[rows[index]])]
            given, asked = index[:n], index[n:][:n_query]
            of_task.append(
                GivenAndAsked(units.take(given), units.take(asked), units.ends(given))
            )
        draws.append(of_task)
    return draws


def _round_robin(labels):
    """Order that takes a row of each class in turn."""
    place = np.zeros(len(labels), dtype=int)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        place[own] = np.arange(len(own))
    return np.argsort(place, kind="stable")


# -- fit and score --------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """What is compared, and on which rows: the same for all folds.

    Attributes
    ----------
    estimators : dict of str to estimator
        The meta-learners, unfitted.
    scorers : dict of str to callable
        ``score(model, X, y)`` for each of them.
    behind : dict of str to dict
        For each of them the names of its baselines, by what they are.
    names : list of str
        What the baselines are.
    kind : ComparedTargets
    candidates : list of estimators or None
        For the pooled model.
    seed : int
        Seed of the baselines.
    data : ComparedRows
    sizes : ndarray of int
        Numbers of rows given.
    in_time : bool
        Whether the rows of a task are in order of time.
    draws : list of list of GivenAndAsked
        For each task the rows of each draw.
    """

    estimators: dict
    scorers: dict
    behind: dict
    names: list
    kind: ComparedTargets
    candidates: list | None
    seed: int
    data: ComparedRows
    sizes: np.ndarray
    in_time: bool
    draws: list


class Job(NamedTuple):
    """One score: of a model that is given some rows of a task and asked others."""

    place: int  # place of the task among those tested in the fold
    column: int  # place of the number of given rows among the sizes
    given: np.ndarray
    asked: np.ndarray
    n_given: int  # how many units these are


def baselines_behind(estimators, names):
    """For each estimator the names of its own baselines, by what they are.

    Baselines see y as the meta-learner does, so estimators that transform y in
    different ways cannot share them. The baselines of the first way have plain names;
    the others are named after the first estimator that transforms y in their way.
    """
    first_of, behind = {}, {}
    for name, model in estimators.items():
        first = first_of.setdefault(how_targets_change(model), name)
        suffix = "" if first == next(iter(estimators)) else f" for {first}"
        behind[name] = {plain: plain + suffix for plain in names}
    return behind


def run(trial, folds, n_jobs):
    """Scores {name: (n_tasks, n_sizes)}, NaN where rows are too few, and pooled models.

    The pooled models are those chosen in each fold, for the first estimator.
    """
    parts = Parallel(n_jobs=n_jobs)(delayed(_run_fold)(trial, *fold) for fold in folds)
    scores = {}
    for fold_scores, tasks, _ in parts:
        for name, table in fold_scores.items():
            empty = np.full((len(trial.data.ids), len(trial.sizes)), np.nan)
            scores.setdefault(name, empty)[tasks] = table
    return scores, [pooled for *_, pooled in parts if pooled is not None]


def _run_fold(trial, train, test):
    """Scores of one fold's test tasks, their numbers, and the pooled model chosen."""
    data = trial.data
    tasks = np.unique(data.codes[test])
    jobs = _jobs(trial, tasks)
    fitted = {
        name: meta_trained(model, data, train)
        for name, model in trial.estimators.items()
    }
    values, pooled = {}, None
    for name, model in fitted.items():
        rows = _safe_indexing(data.X, np.sort(test))
        if trial.in_time:
            check_in_time(data, np.sort(test), times_given(model, rows))
        with remembering(ask_base_once(model, rows)):
            values[name] = _meta_scores(model, data, jobs, trial.scorers[name])
    for name, model in fitted.items():
        names = trial.behind[name]
        if not set(names.values()) - set(values):
            continue  # they are those of an earlier estimator
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some baselines do not converge
            learned = _fit_baselines(trial, model, train)
            scores = _baseline_scores(trial, model, learned, test, jobs, name)
        values |= {names[plain]: scores[plain] for plain in names}
        pooled = pooled or learned.pooled
    shape = len(tasks), len(trial.sizes)
    tables = {name: _table(value, jobs, *shape) for name, value in values.items()}
    return tables, tasks, pooled


def _jobs(trial, tasks):
    """The scores to make on the tested tasks of a fold."""
    return [
        Job(place, column, draw.first(k), draw.asked, k)
        for place, number in enumerate(tasks)
        for draw in trial.draws[number]
        for column, k in enumerate(trial.sizes)
        if k < len(draw.ends) and len(draw.asked)
    ]


def _table(values, jobs, n_tasks, n_sizes):
    """Mean over a task's draws, without those whose score is not defined."""
    total, count = np.zeros((2, n_tasks, n_sizes))
    for value, job in zip(values, jobs, strict=True):
        if not np.isnan(value):
            total[job.place, job.column] += value
            count[job.place, job.column] += 1
    with np.errstate(invalid="ignore"):
        return total / count


def _fit_baselines(trial, model, train):
    """Baselines that see rows and targets as a fitted model's meta-learner does."""
    X, y = trial.data.rows(train)
    back = partial(original_targets, model) if transforms_targets(model) else None
    learned = Baselines(
        trial.names,
        trial.kind,
        candidates=trial.candidates,
        seed=trial.seed,
        in_time=trial.in_time,
        back=back,
        model=innermost(model),
    )
    X, y = transformed_rows(model, X), transformed_targets(model, y)
    units = trial.data.units.codes
    units = None if units is None else units[train]
    return learned.fit(X, y, trial.data.codes[train], trial.sizes, units)


def _baseline_scores(trial, model, learned, test, jobs, name):
    """Scores of the baselines of a model, by what they are."""
    data, score, table = trial.data, trial.scorers[name], trial.data.table
    y = transformed_targets(model, data.y)
    X = transformed_rows(model, _safe_indexing(data.X, test))
    rows = learned.rows(X)  # once for all jobs
    place = np.zeros(len(y), dtype=int)
    place[test] = np.arange(len(test))
    scores = {plain: [] for plain in learned.names}
    for job in jobs:
        given, asked = place[job.given], place[job.asked]
        X_asked = _safe_indexing(X, asked)
        known = rows[given], y[job.given], job.n_given
        for plain, adapted in learned.adapt(*known, (X_asked, rows[asked])).items():
            _, *beside = table.take(job.asked)
            scores[plain].append(score(adapted, X_asked, *beside))
    return scores


def meta_trained(estimator, data, train, weight=None):
    """A clone fitted to some rows, with ``weight`` (n_rows,) if it can take weights.

    An error about a row names it by its number among all rows.
    """
    fresh = clone(estimator)
    if isinstance(fresh, FrozenEstimator):
        return fresh
    X, y, *others = data.table.take(train)
    beside = {"task": data.task[train]}
    if data.sets is not None:
        beside["choice_set"] = others[-1]
    inner = first_meta_learner(estimator, "meta_fit")
    if weight is not None and has_fit_parameter(inner, "sample_weight"):
        beside["sample_weight"] = weight[train]
    with row_order_is_known(), keeping_no_tasks():
        try:
            return meta_fit(fresh, X, y, **beside)
        except ValueError as error:
            said = re.sub(
                r"(?<=The first such row is row )\d+",
                lambda row: str(train[int(row.group())]),
                str(error),
            )
            if said == str(error):
                raise
            raise type(error)(said) from None


def _meta_scores(model, data, jobs, score):
    """Scores of a meta-trained model, adapted to the rows of each job."""
    together = score.together(model)
    # a model that forgets old rows needs to know which ones are old
    in_order = np.sort if rows_in_time(model) else np.asarray
    values = np.empty(len(jobs))
    for places in _blocks(jobs, BLOCK if together is None else BLOCK_TOGETHER):
        splits = [[(in_order(jobs[i].given), jobs[i].asked)] for i in places]
        how = adapt_each, score, together
        values[places] = score_block(model, how, data.table, splits, None)
    return values


def _blocks(jobs, size):
    """Numbers of jobs to do together; in a block either all give rows or none does."""
    gives = np.array([len(job.given) > 0 for job in jobs], dtype=bool)
    for some in (np.flatnonzero(gives), np.flatnonzero(~gives)):
        yield from (some[i : i + size] for i in range(0, len(some), size))
