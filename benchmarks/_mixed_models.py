"""Mixed models, the yardstick of linear tasks, written for themselves.

They share no code with skmeta, so that they can judge it.
"""

import warnings

import numpy as np
from scipy.special import expit
from sklearn.preprocessing import StandardScaler


class MixedModel:
    """Random intercept and independent random slopes, by EM."""

    def fit(self, tasks):
        X, y = (np.concatenate(part) for part in zip(*tasks, strict=True))
        self.scaler = StandardScaler().fit(X)
        self.centre, self.scale = y.mean(), y.std()
        designs = [self._design(X) for X, _ in tasks]
        targets = [(y - self.centre) / self.scale for _, y in tasks]
        gram = np.stack([A.T @ A for A in designs])
        cross = np.stack([A.T @ b for A, b in zip(designs, targets, strict=True)])
        square = sum(b @ b for b in targets)
        n_rows = sum(len(b) for b in targets)
        mean = np.linalg.lstsq(
            np.concatenate(designs), np.concatenate(targets), rcond=None
        )[0]
        variance, noise = np.full(len(mean), 0.1), 0.5
        for _ in range(300):
            spread = np.linalg.inv(gram / noise + np.diag(1 / variance))
            w = np.einsum("tij,tj->ti", spread, cross / noise + mean / variance)
            mean = w.mean(axis=0)
            extra = np.einsum("tii->ti", spread)
            variance = ((w - mean) ** 2 + extra).mean(axis=0) + 1e-9
            residual = square - 2 * np.sum(w * cross)
            residual += np.einsum("ti,tij,tj->", w, gram, w)
            noise = (residual + np.einsum("tij,tij->", spread, gram)) / n_rows
        self.mean, self.variance, self.noise = mean, variance, noise
        return self

    def _design(self, X):
        return np.column_stack([self.scaler.transform(X), np.ones(len(X))])

    def adapt(self, X, y):
        A, b = self._design(X), (y - self.centre) / self.scale
        adapted = MixedModel()
        vars(adapted).update(vars(self))
        adapted.mean = np.linalg.solve(
            A.T @ A / self.noise + np.diag(1 / self.variance),
            A.T @ b / self.noise + self.mean / self.variance,
        )
        return adapted

    def predict(self, X):
        return self.centre + self.scale * (self._design(X) @ self.mean)


def mixed_lm(tasks, start, random):
    """Mean, covariance of the ``random`` effects and noise by maximum likelihood."""
    from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

    X = np.concatenate([task.X for task in tasks])
    y = np.concatenate([task.y for task in tasks])
    A, b = start._design(X), (y - start.centre) / start.scale
    groups = np.repeat(np.arange(len(tasks)), [len(task.y) for task in tasks])
    first = MixedLMParams.from_components(
        fe_params=start.mean, cov_re=np.diag(start.variance[random] / start.noise)
    )
    with warnings.catch_warnings():
        # statsmodels warns even if it converges.
        warnings.simplefilter("ignore")
        fitted = MixedLM(b, A, groups=groups, exog_re=A[:, random]).fit(
            reml=False, start_params=first, method=["lbfgs", "powell"]
        )
    return (
        np.asarray(fitted.fe_params),
        np.asarray(fitted.cov_re),
        float(fitted.scale),
    )


def modes(designs, signs, mean, sd, max_iter=30):
    """Posterior mode of each task's u, where its coefficients are mean + sd * u.

    Also the Laplace approximation of its log evidence, and the covariance of u.
    """
    u = np.zeros((len(designs), len(mean)))
    scaled = designs * sd
    base = designs @ mean

    def objective(u):
        margin = signs * (base + np.einsum("tni,ti->tn", scaled, u))
        fit = np.where(signs == 0, 0, np.logaddexp(0, -margin)).sum(axis=1)
        return fit + 0.5 * np.sum(u**2, axis=1), margin

    value, margin = objective(u)
    for _ in range(max_iter):
        pull = signs * expit(-margin)
        weight = np.abs(signs) * expit(margin) * expit(-margin)
        hessian = np.einsum("tni,tn,tnj->tij", scaled, weight, scaled, optimize=True)
        hessian += np.eye(u.shape[1])
        gradient = u - np.einsum("tni,tn->ti", scaled, pull)
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        if np.abs(step).max() < 1e-7:
            break
        size = np.ones((len(u), 1))
        for _ in range(10):
            new_value, new_margin = objective(u - size * step)
            worse = new_value > value + 1e-9
            if not worse.any():
                break
            size[worse] /= 2
        u, value, margin = u - size * step, new_value, new_margin
    evidence = -value - 0.5 * np.linalg.slogdet(hessian)[1]
    return u, evidence, np.linalg.inv(hessian)
