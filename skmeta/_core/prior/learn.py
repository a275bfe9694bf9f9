"""The prior that tasks have in common, learned from their rows: see `learn`."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from skmeta._core.prior import episodic
from skmeta._core.prior.calibration import FoldRows, ToMeasure
from skmeta._core.prior.features import FeatureFold, most_steps, search_features
from skmeta._core.prior.fit import first_fit
from skmeta._core.prior.learned import LearnedPrior
from skmeta._core.prior.search import MAX_TASKS, StructureSearch, start_of, zero_shot
from skmeta._core.prior.structures import NONE, Diagonal, groups, place
from skmeta._core.progress import SILENT, Progress

# A single task needs a search for one number, and an exact answer costs nothing.
ONE_TASK_TOL = 1e-12
# With so many tasks, features are learned once, leaving out the held-out tasks of all
# folds together, instead of once per fold.
TASKS_FOR_ONE_RUN = 2000


class Options(NamedTuple):
    """How a prior is searched for.

    Attributes
    ----------
    structure : str
        "auto", or the structure that the spread between tasks has.
    tol : float
        Tolerance of the search.
    max_iter : int
        Largest number of iterations of a search.
    units : ndarray of shape (P, P) or None
        Turns coefficients in the units that structures are about into standardised
        ones. None if they are the same.
    features : FeatureOptions or None
        How features are learned. None for a linear model.
    progress : Progress
        Hears of `n_parts` parts of the work.
    before : LearnedPrior or None
        What was learned from fewer tasks in the same units. Its structure is kept,
        and the search begins there.
    """

    structure: str = "auto"
    tol: float = 1e-4
    max_iter: int = 1000
    units: np.ndarray | None = None
    features: episodic.FeatureOptions | None = None
    progress: Progress = SILENT
    before: LearnedPrior | None = None


def n_parts(n_tasks, options):
    """Number of parts of the work that `learn` tells ``options.progress`` of."""
    if n_tasks == 1:
        return 2
    return 3 if options.features is None else 4


def learn(table, model, design, options, rng, before_search=None):
    """Learn the prior of the coefficients of tasks from the rows of many.

    Parameters
    ----------
    table : TaskTable
        The rows of all tasks, standardised.
    model : GaussianModel or LaplaceModel
        The likelihood.
    design : Design
        The columns of the linear model.
    options : Options
    rng : RandomState
        Draws the folds, and the rows that errors are measured with.
    before_search : callable or None
        Called once, before anything that takes long, with (tasks, n_tasks): the tasks
        that the structure is chosen with, and the number of all tasks.

    Returns
    -------
    learned : LearnedPrior
    """
    return learn_and_measure(table, model, design, options, rng, before_search)[0]


def learn_and_measure(table, model, design, options, rng, before_search=None):
    """The same, and the `ToMeasure` with the folds that its errors are measured in."""
    model, table = model.prepared(table)
    given = table, model, design, options, before_search
    if table.n_tasks == 1:
        learned, measured = _learn_from_one(*given)
    else:
        learned, measured = _learn_from_many(*given, rng)
    with options.progress.part("errors", 3) as part:
        learned = _with_start(learned, measured)
        part.step("start")
        learned, measured = learned.model.learn_half_life(learned, measured)
        part.step("half-life")
        found = learned.model.calibrate(learned, measured, rng)
        part.step("calibration")
    learned = learned.model.finished(replace(learned, calibration=found))
    return learned, measured


def _shape(model, table, design):
    """(n_features, n_outputs, fit_intercept) of the coefficients that vary."""
    n_features = int(design.varying.sum()) - design.fit_intercept
    return n_features, model.n_vectors(table), design.fit_intercept


# -- many tasks -----------------------------------------------------------------------


def _learn_from_many(table, model, design, options, before_search, rng):
    """The prior of many tasks, and what its errors are measured with.

    Everything else is freed on return, because what follows needs the memory.
    """
    # the structure is chosen with some of the tasks ...
    parts = design.parts(table)
    some = _some_tasks(parts, rng)
    few = parts.take(some)
    tasks = model.gather(few, design)
    if before_search is not None:
        before_search(tasks, len(parts))
    shape = _shape(model, table, design)
    model, tasks = model.learn_slopes(tasks, shape, options.units)
    search = StructureSearch(
        tasks,
        shape,
        rng,
        options.units,
        tol=options.tol,
        max_iter=options.max_iter,
    )
    search.refines = len(some) == len(parts) or not tasks.has_designs
    n_steps = search.n_steps(options.structure)
    with options.progress.part("structures", n_steps) as search.progress:
        chosen = search.run(options.structure, options.before)
        model, chosen = model.choose_noise(search, chosen, options)
    folds = [
        FoldRows.of(few.take(fold.kept), few.take(fold.held_out), fold.prior)
        for fold in chosen.folds
    ]
    if options.features is None:  # large priors that are not needed any more
        chosen = replace(chosen, folds=[])
    # ... and fitted to all of them
    everything = tasks
    with options.progress.part("all tasks", 2) as part:
        if len(some) < len(parts):
            everything = model.gather(parts, design)
            chosen = replace(chosen, prior=search.on_all(everything, chosen))
        part.step("prior")
        model, chosen = model.learn_noise(everything, chosen, options)
        part.step("noise")
    learned = LearnedPrior.of_search(
        chosen.prior,
        model,
        design,
        chosen.name,
        rank=chosen.structure.rank if chosen.name == "low_rank" else None,
        not_told=model.not_told(everything, chosen, options.units),
    )
    # features take the place of the linear model if they pay
    measured = None
    if options.features is not None:
        n_steps = most_steps(len(chosen.folds))
        with options.progress.part("features", n_steps) as part:
            within = options._replace(progress=part)
            learned, measured = _learn_features(
                table, some, learned, chosen, within, rng, search.seed
            )
    if measured is None:
        measured = ToMeasure(tasks, folds, chosen.scores)
        measured = model.to_measure(measured, everything, parts, chosen, options, rng)
    return learned, measured._replace(tasks=model.in_brief(measured.tasks, learned))


def _some_tasks(parts, rng):
    """Numbers of the tasks that the structure is chosen with."""
    some = np.arange(len(parts))
    if len(parts) > MAX_TASKS:
        some = rng.permutation(len(parts))
        # a task of one row does not show how well some rows predict others
        single = parts.sizes[some] < 2
        some = np.sort(some[np.argsort(single, kind="stable")][:MAX_TASKS])
    return some


def _with_start(learned, measured):
    """What has been learned, together with what predicts before adapting.

    That is the prior, the fit to all rows as one task, or a constant, whichever
    predicts held-out tasks best.
    """
    if not measured.folds:
        return replace(learned, start_mean=learned.mean)
    gather = partial(learned.model.gather, design=learned.design)
    best = zero_shot(
        (gather(fold.kept), gather(fold.held_out), fold.prior)
        for fold in measured.folds
    )
    mean = learned.mean if best == "prior" else start_of(measured.tasks, best)
    return replace(learned, zero_shot=best, start_mean=mean)


# -- a single task --------------------------------------------------------------------


def _learn_from_one(table, model, design, options, before_search):
    """The prior of a single task: a Bayesian ridge or logistic regression.

    One task shows no spread between tasks. So its slopes are drawn about zero, with the
    variance that maximises the evidence, and the prior of later tasks is its posterior.
    """
    part = design.parts(table)[0]
    tasks = model.gather([part], design).with_pinned_slopes()
    if before_search is not None:
        before_search(tasks, 1)
    of_slopes = groups("isotropic", *_shape(model, table, design))
    structure = Diagonal(np.where(of_slopes == 0, 0, NONE))
    with options.progress.part("prior"):
        prior = first_fit(
            tasks,
            place(structure, tasks, options.units),
            tol=min(options.tol, ONE_TASK_TOL),
            max_iter=options.max_iter,
        )
    learned = LearnedPrior.of_search(prior, model, design, "isotropic")
    mean, factor = model.posterior(learned.mean, learned.factor, learned.noise, part)
    learned = replace(learned, mean=mean, factor=factor, spread=factor)
    return learned, ToMeasure(model.in_brief(tasks, learned), [], None)


# -- learned features -----------------------------------------------------------------


def _learn_features(table, some, learned, chosen, options, rng, seed):
    """The prior with learned features, and what its errors are measured with.

    If features do not pay, this is the linear prior and None.
    """
    model = learned.model
    target = model.feature_target(table)
    found = _search_features(target, some, learned, chosen, options, rng)
    head = partial(model.feature_head, target, chosen.prior, learned.design)
    learned = replace(
        learned,
        n_feature_iter=0,
        feature_scores=found.log_density.mean(axis=1).tolist(),
    )
    better, measured = model.judge_features(
        learned, table, chosen, found, head, seed, options
    )
    if better is None:
        return learned, None
    better = replace(
        better, n_feature_iter=found.n_iter, features_too_short=found.too_short
    )
    return better, measured


def _search_features(target, some, learned, chosen, options, rng):
    """Features that are learned in the folds in which the structure was chosen.

    If there are many tasks, the held-out tasks of all folds are left out together; they
    are few.
    """
    model, design, how = learned.model, learned.design, options.features
    held_out = [some[fold.held_out] for fold in chosen.folds]
    priors = [fold.prior for fold in chosen.folds]
    if target.n_tasks >= TASKS_FOR_ONE_RUN:
        held_out, priors = [np.concatenate(held_out)], [chosen.prior]
    folds = []
    for out, prior in zip(held_out, priors, strict=True):
        kept = np.setdiff1d(np.arange(target.n_tasks), out)
        head = model.feature_head(target.subset(kept), prior, design)
        folds.append(FeatureFold(kept, out, head))
    begin = partial(
        episodic.begin_features,
        (design.n_features, *how.hidden, how.n_components),
        how.activation,
        how.layer_norm,
        fit_intercept=design.fit_intercept,
    )
    seed = rng.randint(2**31)
    return search_features(begin, target, folds, how, seed, options.progress)
