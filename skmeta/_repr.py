"""What a meta-learner has learned, under its diagram in a notebook."""

from html import escape

import numpy as np

from skmeta._linear_part import linear_names

# The table of the prior has at most this many features.
MAX_ROWS = 8
_FOR_A_NEW_TASK = (
    "<p><code>predict</code> is for a new task. For a known one, <code>adapt</code> to "
    "its rows first; for many, call <code>adapt_predict</code>.</p>"
)


class LearnedRepr:
    """Adds `_learned_html` to scikit-learn's HTML representation, once fitted."""

    def _learned_html(self):
        """A line about tasks and rows seen; subclasses add what they have learned."""
        tasks = "1 task" if self.n_tasks_ == 1 else f"{self.n_tasks_:,} tasks"
        rows = f"{self.n_adapt_rows_:,} row" + "s" * (self.n_adapt_rows_ != 1)
        state = f"adapted to {rows}" if self.n_adapt_rows_ else "not adapted to a task"
        html = f"<p>Learned from {tasks}; {state}.</p>"
        if self.n_tasks_ > 1 and not self.n_adapt_rows_:
            html += _FOR_A_NEW_TASK
        return html

    def _repr_html_inner(self):
        return super()._repr_html_inner() + self._learned_if_fitted()

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] += self._learned_if_fitted()
        return bundle

    def _learned_if_fitted(self):
        return self._learned_html() if self.__sklearn_is_fitted__() else ""


def prior_table(model, names=None):
    """The learned prior as an HTML table, with the most important features first."""
    coefficients, deviations, scale, outputs = model._prior_summary()
    n_features = coefficients.shape[1]
    if names is None:
        names = linear_names(model)
    if names is None:
        names = [f"x{i}" for i in range(n_features)]
    size = np.abs(coefficients * scale) + deviations * scale
    order = np.argsort(-size.max(axis=0), kind="stable")[:MAX_ROWS]
    single = len(outputs) == 1
    rows = [
        f"<tr><th style='text-align:left'>{escape(str(names[j]))}</th>"
        + ("" if single else f"<td>{escape(str(output))}</td>")
        + f"<td>{coefficients[o, j]:.3g}</td><td>{deviations[o, j]:.3g}</td></tr>"
        for j in order
        for o, output in enumerate(outputs)
    ]
    left = n_features - len(order)
    more = f"<caption>and {left:,} more features</caption>" if left else ""
    heads = ["feature", *([] if single else ["class"]), "new task", "± between tasks"]
    head = "".join(f"<th>{h}</th>" for h in heads)
    return (
        f"<table style='caption-side:bottom'>{more}<thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
