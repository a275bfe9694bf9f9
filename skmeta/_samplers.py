"""Pipelines of imbalanced-learn, whose samplers drop or repeat rows in `fit`.

The Pipeline resamples X and y, and nothing else, so that ids would no longer belong to
the rows. Here the ids go along.
"""

from sklearn import clone
from sklearn.utils.validation import _num_samples

from skmeta._checks.aligned import check_aligned
from skmeta._checks.ids import check_task_ids


def is_sampler(step):
    """Whether a step of a Pipeline drops or adds rows in `fit`."""
    return hasattr(step, "fit_resample")


def has_samplers(estimator):
    """Whether an estimator is a Pipeline with a sampler among its steps."""
    return any(is_sampler(step) for _, step in _steps(estimator))


def _steps(estimator):
    steps = getattr(estimator, "steps", None)
    return [step for step in steps if len(step) == 2] if isinstance(steps, list) else []


def fit_with_samplers(pipeline, X, y, task, sample_weight=None, **others):
    """``pipeline.fit(X, y, task=task)`` with ids that are resampled like the rows.

    Steps are fitted as scikit-learn fits them, except that they are clones until all
    have been fitted. Samplers get no metadata.
    """
    if others:
        raise TypeError(
            "A sampler drops or repeats single rows, and would cut what "
            f"{next(iter(others))} keeps together. Leave the sampler out."
        )
    check_aligned(X=X, y=y, task=task, sample_weight=sample_weight)
    beside = {"task": check_task_ids(task, _num_samples(X))}
    if sample_weight is not None:
        beside["sample_weight"] = sample_weight
    steps = []
    for name, step in pipeline.steps[:-1]:
        if step not in (None, "passthrough"):
            step = clone(step)
            if is_sampler(step):
                X, y = step.fit_resample(X, y)
                kept = _kept_rows(step)
                beside = {key: values[kept] for key, values in beside.items()}
            else:
                X = step.fit_transform(X, y)
        steps.append((name, step))
    name, last = pipeline.steps[-1]
    last.fit(X, y, **beside)
    pipeline.steps = [*steps, (name, last)]
    return pipeline


def _kept_rows(sampler):
    """Numbers of the rows that a fitted sampler has kept or repeated."""
    kept = getattr(sampler, "sample_indices_", None)
    if kept is None:
        raise TypeError(
            f"{type(sampler).__name__} makes rows out of several others, which may "
            "belong to different tasks, so that new rows have no id. Take a sampler "
            "that drops or repeats rows, such as RandomUnderSampler or "
            "RandomOverSampler, or leave it out and give the rows weights."
        )
    return kept
