"""The coefficients of tasks as the columns of a table."""

from skmeta._checks.id_keys import array_of_ids
from skmeta._compositions import steps_in_front, transformed_names
from skmeta._linear_part import preprocesses


def columns_of(model, states, keys, values):
    """The columns of `TaskBank.to_frame`, as a dict of arrays."""
    columns = {"id": array_of_ids(keys), "n_rows": states.n_rows(values)}
    found = _of_users_columns(model, states, values)
    if found is None:
        return columns
    slopes, intercepts, names = found
    outputs, n_outputs = [""], slopes.shape[1]
    if n_outputs > 1:
        outputs = [f"_{label}" for label in model.learner.classes_]
    columns |= {f"intercept{o}": intercepts[:, i] for i, o in enumerate(outputs)}
    for i, output in enumerate(outputs):
        for j, name in enumerate(names):
            name = f"{name}{output}"
            while name in columns:
                name = f"coef_{name}"
            columns[name] = slopes[:, i, j]
    return columns


def _of_users_columns(model, states, values):
    """Slopes, intercepts and names of columns, with scalers in front undone."""
    if model.transforms_targets:
        return None
    found = states.coefficients_in_users_units(values)
    if found is None:
        return None
    slopes, intercepts = found
    steps = steps_in_front(model.outer)
    scalers = None if steps is None else [_scale_and_shift(step) for step in steps]
    if scalers is None or None in scalers or preprocesses(model.learner):
        names = _names(transformed_names(model.outer), slopes)
        # nobody is to take them for the user's own columns
        return slopes, intercepts, [f"transformed__{name}" for name in names]
    for scale, shift in reversed(scalers):
        intercepts = intercepts + (slopes * shift).sum(axis=2)
        slopes = slopes * scale
    names = getattr(model.outer, "feature_names_in_", None)
    return slopes, intercepts, _names(names, slopes)


def _names(names, slopes):
    return [f"x{j}" for j in range(slopes.shape[2])] if names is None else names


def _scale_and_shift(step):
    """A scaler as x * scale + shift; None if the step is of another kind."""
    from sklearn import preprocessing

    kind = type(step)
    if step is None or kind is str:  # "passthrough"
        return 1.0, 0.0
    if kind is preprocessing.StandardScaler:
        scale = 1.0 if step.scale_ is None else 1.0 / step.scale_
        return scale, -step.mean_ * scale if step.with_mean else 0.0
    if kind is preprocessing.RobustScaler:
        scale = 1.0 / step.scale_ if step.with_scaling else 1.0
        return scale, -step.center_ * scale if step.with_centering else 0.0
    if getattr(step, "clip", False):
        return None
    if kind is preprocessing.MinMaxScaler:
        return step.scale_, step.min_
    return (1.0 / step.scale_, 0.0) if kind is preprocessing.MaxAbsScaler else None
