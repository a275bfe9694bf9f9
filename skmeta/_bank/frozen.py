"""The model of a bank, which does not change, and how the user's rows reach it."""

import numpy as np
from sklearn.utils.validation import _num_samples, check_is_fitted

from skmeta._bank.choices import sets_of
from skmeta._base import BaseMetaLearner
from skmeta._checks.aligned import check_aligned
from skmeta._checks.bad_rows import naming_the_task
from skmeta._checks.id_keys import (
    array_of_ids,
    check_not_a_column,
    column_of_ids,
    is_single,
    keys_of,
    keys_of_ids,
    unmixed,
)
from skmeta._checks.ids import check_task_ids, encode_tasks, group
from skmeta._checks.scorers import scoring_on_purpose
from skmeta._checks.values import check_target
from skmeta._choice_sets import that_tell, with_sets
from skmeta._compositions import (
    checked_composition,
    has_steps_in_front,
    meta_learner,
    original_answers,
    part_that_adapts,
    transformed_rows,
    transformed_targets,
    transforms_targets,
)
from skmeta._copies import own_what_can_change, shallow_copy
from skmeta._linear_part import preprocesses
from skmeta._task_input import (
    SortedRows,
    rows_to_name,
    validate_new_rows,
    validate_rows,
    validate_weight,
)


class FrozenModel:
    """A copy of a meta-trained model or composition.

    Attributes
    ----------
    outer : estimator
        The composition, which no later fit of the user's own object changes.
    learner : estimator
        The meta-learner inside, adapted to no task.
    """

    def __init__(self, model):
        learner = meta_learner(model, "TaskBank")
        check_is_fitted(learner)
        self.learner = learner._unadapted_copy()
        own_what_can_change(self.learner)
        self.outer = around(part_that_adapts(model, "adapt"), self.learner)
        # rows that have been validated have no names of columns
        self._nameless = self.learner._unadapted_copy()
        vars(self._nameless).pop("feature_names_in_", None)

    @property
    def takes_choice_sets(self):
        return "choice_set" in self.learner._comes_beside

    @property
    def transforms_targets(self):
        return transforms_targets(self.outer)

    @property
    def changes_rows(self):
        """Whether the rows that the linear part learns from are not the user's."""
        return has_steps_in_front(self.outer) or preprocesses(self.learner)

    def fresh(self):
        """A copy of the meta-learner, for the user to keep."""
        fresh = self.learner._unadapted_copy()
        own_what_can_change(fresh)
        return fresh

    def by_prior(self, method, X, options):
        """What ``method`` returns for validated rows of tasks without known rows."""
        with scoring_on_purpose():
            return getattr(self._nameless, method)(X, **options)

    def restored(self, y, method):
        """What ``method`` has returned, in the user's units."""
        return original_answers(self.outer, y, method)

    # -- the user's rows --------------------------------------------------------------

    def known_rows(self, X, y, sample_weight, task, choice_set=None, silent="left out"):
        """The `SortedRows` of tasks, the tasks' keys, and `Sets` of rows or None.

        Choice sets that say nothing are left out, or "kept".
        """
        check_not_a_column(X, task)
        beside = self.beside(choice_set)
        check_aligned(
            X=X, y=y, sample_weight=sample_weight, task=column_of_ids(task), **beside
        )
        learner = self.learner
        codes, ids, keys = _encoded(task, _num_samples(X))
        labels = learner._targets.are_labels
        bad = {"labels" if labels else "y": y}
        with naming_the_task(column_of_ids(task), rows_to_name(learner, X), **bad):
            if self.transforms_targets:
                check_target(y, labels)
            X = transformed_rows(self.outer, X)
            y = transformed_targets(self.outer, y)
            X, y = validate_rows(learner, X, y, reset=False, dtype=learner._dtype)
        weight = validate_weight(learner, sample_weight, X)
        learner._targets.check(y, None if ids is None else ids[codes])
        sets = None
        if self.takes_choice_sets:
            ids = array_of_ids(keys)
            offers, sets = self._choices(y, weight, codes, ids, choice_set)
            if silent == "left out":
                outside = learner._targets.outside
                tells = that_tell(offers, weight, codes, ids, outside)
                weight = np.where(tells, weight, 0.0)
            y = offers["value"]
        kept = np.flatnonzero(weight > 0)
        order = kept[np.argsort(codes[kept], kind="stable")]
        sizes = np.bincount(codes[kept], minlength=len(keys))
        starts = np.concatenate([[0], np.cumsum(sizes[sizes > 0])])
        keys = [keys[i] for i in np.flatnonzero(sizes)]
        sets = None if sets is None else sets.take(order)
        return SortedRows(X[order], y[order], weight[order], starts), keys, sets

    def beside(self, choice_set):
        """What comes beside rows, by name; refuses choice sets of other models."""
        if choice_set is not None and not self.takes_choice_sets:
            raise TypeError(
                f"choice_set: a {type(self.learner).__name__} does not learn from "
                "choices among offers, so its rows have no choice sets. Leave it out."
            )
        return {} if choice_set is None else {"choice_set": choice_set}

    def _choices(self, y, weight, codes, ids, choice_set):
        """Rows (n,) as the ranker takes offers, and their `Sets`.

        Without labels, the rows of each task are one set, like any other afterwards.
        """
        targets = self.learner._targets
        offers = targets.with_beside(y, weight, codes, ids, choice_set=choice_set)
        if choice_set is None:
            offers = with_sets(y, weight, codes, ids, codes)
        return offers, sets_of(choice_set, offers["set"], len(y))

    def sets_of_new_rows(self, X, task, choice_set):
        """Numbers (n,) of the choice sets of new rows, other ones in each task."""
        beside = self.beside(choice_set)
        check_aligned(X=X, task=column_of_ids(task), **beside)
        codes, _, _ = _encoded(task, _num_samples(X))
        if choice_set is None:
            return codes
        number, names = group(check_task_ids(choice_set, len(codes), "choice_set"))
        return codes * len(names) + number

    def new_rows(self, X, task):
        """Validated rows to predict, and a list of the keys of their tasks."""
        check_not_a_column(X, task)
        check_aligned(X=X, task=column_of_ids(task))
        keys = keys_of(task, _num_samples(X))
        with naming_the_task(column_of_ids(task), X=rows_to_name(self.learner, X)):
            X = validate_new_rows(self.learner, transformed_rows(self.outer, X))
        return X, keys


def around(estimator, learner):
    """A copy of a composition with another meta-learner inside."""
    if isinstance(estimator, BaseMetaLearner):
        return learner
    composition = checked_composition(estimator, "adapt")
    inside = around(composition.inside(estimator), learner)
    return composition.rebuild(shallow_copy(estimator), inside)


def _encoded(task, n_rows):
    """The number of each row's task, the ids of these, and their keys."""
    if is_single(task):
        return np.zeros(n_rows, dtype=np.intp), None, keys_of(task, 1)
    if task is None:
        check_task_ids(task, n_rows)
    codes, ids = encode_tasks(unmixed(task), n_rows)
    keys = keys_of_ids(ids)
    unique = dict.fromkeys(keys)
    if len(unique) < len(keys):  # ids that differ, and are the same in a store
        number = {key: i for i, key in enumerate(unique)}
        first = {}
        for i, key in enumerate(keys):
            first.setdefault(key, i)
        codes = np.array([number[key] for key in keys], dtype=np.intp)[codes]
        ids, keys = ids[list(first.values())], list(unique)
    return codes, ids, keys
