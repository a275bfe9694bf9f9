"""Reptile adapts to many tasks at once."""

from functools import partial

import numpy as np

from skmeta import _reptile_checks as checks
from skmeta._core.descent import curved, inner
from skmeta._core.descent.plan import wiping
from skmeta._core.descent.state import PresentTask
from skmeta._tables import joined
from skmeta._task_input import SortedRows, validate_task
from skmeta._threads import on_one_blas_thread


class SideBySideMixin:
    """What `BaseMetaLearner` does one task at a time. It stands to the left of it."""

    @property
    def _side_by_side(self):
        """Whether many tasks can adapt at once.

        They cannot if each has its own classes, or if each draws its minibatches.
        """
        return not self._targets.own_classes and self.batch_size is None

    @wiping
    def _adapt_each(self, parts):
        if not self._side_by_side:
            return super()._adapt_each(parts)
        models = [self._unadapted_copy() for _ in parts]
        rows = [validate_task(m, *part) for m, part in zip(models, parts, strict=True)]
        X, y, weight = zip(*rows, strict=True)
        starts = np.concatenate([[0], np.cumsum([len(part) for part in y])])
        y, weight = np.concatenate(y), np.concatenate(weight)
        table = self._new_table(SortedRows(joined(X), y, weight, starts))
        for tasks, theta, known in self._adapt_chunks(table):
            for i, t in enumerate(tasks):
                seen = float(weight[starts[t] : starts[t + 1]].sum())
                of_task = None if known is None else known[i].copy()
                models[t]._present = PresentTask(theta[i].copy(), seen, of_task)
                models[t].n_adapt_rows_ = int(starts[t + 1] - starts[t])
        return models

    @wiping
    @on_one_blas_thread
    def _predict_each(self, known, new, method, options):
        if not self._side_by_side:
            return super()._predict_each(known, new, method, options)
        X_new, order, starts_new = new
        table, learned = self._new_table(known.sorted()), self._learned
        net, averages = learned.network, learned.inner_loop.curved
        averages = averages and self._targets.are_labels
        # before a task has given a row, the whole prior is averaged over
        share = np.where(table.sizes, curved.share(net, learned.state), 1.0)
        Z = np.empty((len(order), net.layout.sizes[-1]), self._dtype)
        variances = np.zeros(Z.shape)

        def rows_at(places):
            return self._scaling.transform_X(self._dense(X_new[order[places]]))

        for tasks, theta, precision in self._adapt_chunks(table):
            precision = precision if averages else None
            adapted = net, theta, precision, share[tasks], tasks, starts_new
            for places, outputs, v in inner.outputs_of_tasks(*adapted, rows_at):
                Z[order[places]] = outputs
                if v is not None:
                    variances[order[places]] = v
        average = partial(curved.averaged, v=variances) if averages else None
        return super()._decode(Z, X_new, method, average)

    def _adapt_chunks(self, table):
        """Adapt to the tasks of a table: yields numbers of some, and parameters.

        The third item is their `inner.precision_of`.
        """
        net, state, settings = self._to_adapt_with()
        learned = self._learned
        weight = float(table.weight.mean())
        checks.weights(weight, learned.mean_weight, settings.alpha)
        losses = []
        for tasks, theta, precision, change in inner.adapt_to_table(
            net, state, table, settings, self._adaptation_steps, None
        ):
            checks.finite(theta, "these tasks")
            losses.append(change)
            yield tasks, theta, precision
        if losses and not settings.backtracks:
            checks.adapting(*np.concatenate(losses, axis=1), learned.constant_loss)
