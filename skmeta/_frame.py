"""The frame turns the user's rows and targets into the core's, and back."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skmeta._base_model import FittedBase
from skmeta._core.network import Batch
from skmeta._core.scaling import OrderedRows, Scaling
from skmeta._core.tasks import TaskTable, absent_classes
from skmeta._targets import Targets


@dataclass(frozen=True)
class Frame:
    """Scaling and targets that `fit` has learned. A frame is replaced, never changed.

    Attributes
    ----------
    scaling : Scaling
    targets : Targets
    given_base : GivenBase or None
        The base model as it was given to `fit`, so that ``warm_start`` recognises
        another.
    columns : tuple or None
        If the base model or the preprocessor was fitted to a DataFrame, its library and
        the names of its columns.
    """

    scaling: Scaling
    targets: Targets
    given_base: object = None
    columns: tuple | None = None

    def table(self, X, coded, offset, weight, starts, *, order=None, in_place=False):
        """The `TaskTable` of sorted rows.

        Parameters
        ----------
        X : {ndarray, CSR matrix} of shape (n_rows, n_features)
        coded : Coded
            The targets that are left to learn.
        offset : ndarray of shape (n_rows, n_outputs) or None
        weight : ndarray of shape (n_rows,)
        starts : ndarray of int of shape (n_tasks + 1,)
        order : ndarray of int of shape (n_rows,) or None
            If given, X holds the rows in their original order and is not copied: rows
            are taken from it in this order on request.
        in_place : bool
            Whether X may be written into.
        """
        dtype = X.dtype
        if order is not None:
            X = OrderedRows(X, order, self.scaling)
        else:
            X = self.scaling.transform_X(X, in_place=in_place)
        return TaskTable(
            X,
            self.scaling.transform_y(coded.Y).astype(dtype, copy=False),
            weight,
            starts,
            coded.n_classes,
            None if offset is None else offset.astype(dtype, copy=False),
        )

    def batch(self, X, coded, offset, weight):
        """The `Batch` of the dense rows of one task."""
        X = self.scaling.transform_X(X)
        if coded.n_classes is not None:  # in this case there is no base model
            offset = absent_classes(coded.n_classes, coded.Y.shape[1], X.dtype)[0]
        total = weight.sum()
        return Batch(
            X=X[None],
            Y=self.scaling.transform_y(coded.Y).astype(X.dtype, copy=False)[None],
            weight=(weight / total).astype(X.dtype)[None],
            total_weight=np.array([total]),
            offset=None if offset is None else offset.astype(X.dtype)[None],
        )


class TrainingData(NamedTuple):
    """What `fit` makes of the rows, before it learns what the tasks have in common.

    Attributes
    ----------
    table : TaskTable
    ids : ndarray of shape (n_tasks,)
    frame : Frame
    classes : ndarray of shape (n_classes,) or None
        ``classes_``.
    base : FittedBase
    """

    table: TaskTable
    ids: np.ndarray
    frame: Frame
    classes: np.ndarray | None
    base: FittedBase
