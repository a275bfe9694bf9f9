"""Reptile as one would write it in other frameworks, for the benchmark of speed.

Every class below computes the same numbers. From the parameters phi, a meta-iteration
takes K inner steps of SGD or Adam on each task t of a meta-batch, which end at theta_t,
and moves

    phi <- phi + meta_step * (1 - i / max_iter) * mean_t(theta_t - phi).

Constructors do whatever can be done ahead of time (conversion, padding, compilation),
so that a benchmark may time ``run`` and ``adapt_predict`` alone.
"""

import itertools
import math
import os
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np

# Adam has beta1 = 0, and adds epsilon after the correction of the bias (as TensorFlow).
BETA2 = 0.999
EPSILON = 1e-8


@dataclass(frozen=True)
class Work:
    """What to train, and how."""

    sizes: tuple  # Units per layer, from the inputs to the outputs.
    activation: str  # "tanh" or "relu", in the hidden layers.
    loss: str  # "squared_error" (halved), "log_loss" or "softmax_log_loss".
    solver: str  # "sgd" or "adam"
    learning_rate: float
    inner_steps: int
    dtype: str  # "float32" or "float64"
    meta_step: float = 1.0


@dataclass(frozen=True)
class Tasks:
    """The rows of each task: X[t] is (n_t, inputs), Y[t] is (n_t, outputs)."""

    X: list
    Y: list


def split(phi, sizes):
    """View flat parameters as [W_1, b_1, W_2, b_2, ...], with W (fan_in, fan_out)."""
    arrays, start = [], 0
    for fan_in, fan_out in itertools.pairwise(sizes):
        stop = start + (fan_in + 1) * fan_out
        block = phi[start:stop].reshape(fan_in + 1, fan_out)
        arrays += [block[:-1], block[-1]]
        start = stop
    return arrays


def join(arrays):
    """Flatten [W_1, b_1, W_2, b_2, ...], the inverse of ``split``."""
    return np.concatenate([np.ravel(a) for a in arrays])


def pad(tasks, dtype):
    """Stack the tasks: X, Y and the weights of the rows, which are 0 in the padding."""
    n_rows = [len(x) for x in tasks.X]
    shape = len(n_rows), max(n_rows)
    X = np.zeros((*shape, tasks.X[0].shape[1]), dtype)
    Y = np.zeros((*shape, tasks.Y[0].shape[1]), dtype)
    weights = np.zeros((*shape, 1), dtype)
    for t, n in enumerate(n_rows):
        X[t, :n], Y[t, :n], weights[t, :n] = tasks.X[t], tasks.Y[t], 1 / n
    return X, Y, weights


def count_parameters(sizes):
    """Count the parameters of a network."""
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in itertools.pairwise(sizes))


def chunk_size(work, n_rows, n_activations):
    """Count the tasks to adapt at a time, given how many activations a layer may have.

    With many tasks, this bounds the memory and keeps the activations in the cache.
    """
    return max(1, n_activations // (n_rows * max(work.sizes)))


class NumpyLoop:
    """One task after the other, with the gradients written by hand."""

    name = "NumPy, plain"
    requires = ()

    def __init__(self, work, tasks, schedule):
        self.work, self.schedule = work, schedule
        self.X = [np.asarray(x, work.dtype) for x in tasks.X]
        self.Y = [np.asarray(y, work.dtype) for y in tasks.Y]

    @classmethod
    def fits(cls, work):
        return True

    def _forward(self, params, x):
        hidden = [x]
        for W, b in zip(params[:-2:2], params[1:-2:2], strict=True):
            z = hidden[-1] @ W + b
            hidden.append(
                np.tanh(z) if self.work.activation == "tanh" else np.maximum(z, 0)
            )
        return hidden, hidden[-1] @ params[-2] + params[-1]

    def _gradients(self, params, x, y):
        hidden, out = self._forward(params, x)
        if self.work.loss == "log_loss":
            out = (1 + np.tanh(out / 2)) / 2
        elif self.work.loss == "softmax_log_loss":
            out = np.exp(out - out.max(axis=1, keepdims=True))
            out /= out.sum(axis=1, keepdims=True)
        delta = (out - y) / len(x)
        grads = [None] * len(params)
        for j in reversed(range(len(hidden))):
            h = hidden[j]
            grads[2 * j], grads[2 * j + 1] = h.T @ delta, delta.sum(axis=0)
            if j:
                slope = 1 - h**2 if self.work.activation == "tanh" else h > 0
                delta = (delta @ params[2 * j].T) * slope
        return grads

    def _adapt(self, phi, task, rows=None, solver="sgd", moment=None, t=0):
        theta = phi.copy()
        params = split(theta, self.work.sizes)
        x, y, rate = self.X[task], self.Y[task], self.work.learning_rate
        if solver == "adam":
            moment = moment.copy()
            moments = split(moment, self.work.sizes)
        for k in range(self.work.inner_steps):
            batch = (x, y) if rows is None else (x[rows[k]], y[rows[k]])
            grads = self._gradients(params, *batch)
            if solver == "sgd":
                for p, g in zip(params, grads, strict=True):
                    p -= rate * g
            else:
                rate_t = rate * math.sqrt(1 - BETA2 ** (t + k + 1))
                for p, g, m in zip(params, grads, moments, strict=True):
                    m += (1 - BETA2) * (g**2 - m)
                    p -= rate_t * g / (np.sqrt(m) + EPSILON)
        return theta, moment

    def run(self, phi, first, last, max_iter):
        work = self.work
        phi = np.array(phi, work.dtype)
        moment = np.zeros_like(phi)
        for i in range(first, last):
            tasks, rows = self.schedule[i]
            t = (i - first) * work.inner_steps
            ends, moments = np.zeros_like(phi), np.zeros_like(phi)
            for j, task in enumerate(tasks):
                theta, m = self._adapt(
                    phi, task, None if rows is None else rows[j], work.solver, moment, t
                )
                ends += theta
                moments += m
            phi += work.meta_step * (1 - i / max_iter) * (ends / len(tasks) - phi)
            moment = moments / len(tasks)
        return phi

    def prepare_queries(self, X_new):
        self.queries = [np.asarray(x, self.work.dtype) for x in X_new]

    def adapt_predict(self, phi):
        phi = np.asarray(phi, self.work.dtype)
        predictions = []
        for task, query in zip(self.schedule[0][0], self.queries, strict=True):
            params = split(self._adapt(phi, task)[0], self.work.sizes)
            predictions.append(self._forward(params, query)[1])
        return np.stack(predictions)


def torch_module(work):
    """Build the network as a ``torch.nn.Sequential``."""
    import torch

    activation = torch.nn.Tanh if work.activation == "tanh" else torch.nn.ReLU
    layers = []
    for fan_in, fan_out in itertools.pairwise(work.sizes):
        layers += [torch.nn.Linear(fan_in, fan_out), activation()]
    return torch.nn.Sequential(*layers[:-1]).to(getattr(torch, work.dtype))


def torch_weighted_loss(loss):
    """Return the loss as a function of (outputs, Y, weights of the rows), summed."""
    from torch.nn import functional as F

    if loss == "squared_error":
        return lambda out, y, w: 0.5 * (w * (out - y) ** 2).sum()
    if loss == "log_loss":
        return lambda out, y, w: F.binary_cross_entropy_with_logits(
            out, y, weight=w, reduction="sum"
        )
    return lambda out, y, w: -(w * y * F.log_softmax(out, dim=-1)).sum()


def to_linear(phi, work):
    """Copy flat parameters to tensors shaped like those of ``torch.nn.Linear``."""
    import torch

    arrays = split(np.asarray(phi, work.dtype), work.sizes)
    return [torch.tensor(a.T) for a in arrays]


def from_linear(tensors):
    """Flatten tensors shaped like those of ``torch.nn.Linear``."""
    return join([p.numpy().T for p in tensors])


class TorchLoop:
    """A module and an optimizer, which take one task after the other."""

    name = "PyTorch loop"
    requires = ("torch",)

    def __init__(self, work, tasks, schedule):
        import torch
        from torch.nn import functional as F

        torch.set_num_threads(1)
        self.work = work
        self.module = torch_module(work)
        self.params = list(self.module.parameters())
        self.optimizer = torch.optim.SGD(self.params, lr=work.learning_rate)
        dtype = getattr(torch, work.dtype)
        self.X = [torch.as_tensor(x, dtype=dtype) for x in tasks.X]
        self.Y = [torch.as_tensor(y, dtype=dtype) for y in tasks.Y]
        if work.loss == "squared_error":
            # mse_loss is a mean over the outputs too.
            half = 0.5 * work.sizes[-1]
            self.loss = lambda out, y: half * F.mse_loss(out, y)
        elif work.loss == "log_loss":
            self.loss = F.binary_cross_entropy_with_logits
        else:
            self.loss = F.cross_entropy
            self.Y = [y.argmax(dim=1) for y in self.Y]
        self.schedule = [
            (tasks, None if rows is None else torch.as_tensor(rows))
            for tasks, rows in schedule
        ]

    @classmethod
    def fits(cls, work):
        return True

    def _adapt(self, phi, task, rows=None, solver="sgd", moment=None, t=0):
        import torch

        with torch.no_grad():
            for p, start in zip(self.params, phi, strict=True):
                p.copy_(start)
        x, y, rate = self.X[task], self.Y[task], self.work.learning_rate
        if solver == "adam":
            moment = [m.clone() for m in moment]
        for k in range(self.work.inner_steps):
            xk, yk = (x, y) if rows is None else (x[rows[k]], y[rows[k]])
            self.optimizer.zero_grad()
            self.loss(self.module(xk), yk).backward()
            if solver == "sgd":
                self.optimizer.step()
                continue
            rate_t = rate * math.sqrt(1 - BETA2 ** (t + k + 1))
            with torch.no_grad():
                for p, m in zip(self.params, moment, strict=True):
                    m.mul_(BETA2).addcmul_(p.grad, p.grad, value=1 - BETA2)
                    p.addcdiv_(p.grad, m.sqrt().add_(EPSILON), value=-rate_t)
        return moment

    def run(self, phi, first, last, max_iter):
        import torch

        work = self.work
        phi = to_linear(phi, work)
        moment = [torch.zeros_like(p) for p in phi] if work.solver == "adam" else []
        for i in range(first, last):
            tasks, rows = self.schedule[i]
            t = (i - first) * work.inner_steps
            ends = [torch.zeros_like(p) for p in phi]
            moments = [torch.zeros_like(m) for m in moment]
            for j, task in enumerate(tasks):
                m = self._adapt(
                    phi, task, None if rows is None else rows[j], work.solver, moment, t
                )
                with torch.no_grad():
                    torch._foreach_add_(ends, self.params)
                    if moments:
                        torch._foreach_add_(moments, m)
            epsilon = work.meta_step * (1 - i / max_iter)
            for p, end in zip(phi, ends, strict=True):
                p.lerp_(end.div_(len(tasks)), epsilon)
            moment = [m.div_(len(tasks)) for m in moments]
        return from_linear(phi)

    def prepare_queries(self, X_new):
        import torch

        dtype = getattr(torch, self.work.dtype)
        self.queries = [torch.as_tensor(x, dtype=dtype) for x in X_new]

    def adapt_predict(self, phi):
        import torch

        phi = to_linear(phi, self.work)
        predictions = []
        for task, query in zip(self.schedule[0][0], self.queries, strict=True):
            self._adapt(phi, task)
            with torch.no_grad():
                predictions.append(self.module(query))
        return torch.stack(predictions).numpy()


class TorchStack:
    """What the two implementations with stacked tasks have in common: the data."""

    requires = ("torch",)

    def __init__(self, work, tasks, schedule):
        import torch

        torch.set_num_threads(1)
        self.work = work
        self.X, self.Y, self.weights = map(torch.tensor, pad(tasks, work.dtype))
        self.n_rows = torch.tensor([len(x) for x in tasks.X])
        self.loss = torch_weighted_loss(work.loss)
        self.schedule = [
            (torch.as_tensor(tasks), None if rows is None else torch.as_tensor(rows))
            for tasks, rows in schedule
        ]

    @classmethod
    def fits(cls, work):
        return True

    def _gather(self, tasks, rows=None):
        """Return the (X, Y, weights) of each inner step, stacked over the tasks."""
        if rows is None:
            n = int(self.n_rows[tasks].max())
            batch = [a[:, :n][tasks] for a in (self.X, self.Y, self.weights)]
            return [batch] * self.work.inner_steps
        rows = rows.transpose(0, 1)
        weights = self.X.new_full((), 1 / rows.shape[2])
        X, Y = self.X[tasks[:, None], rows], self.Y[tasks[:, None], rows]
        return [(x, y, weights) for x, y in zip(X, Y, strict=True)]

    def prepare_queries(self, X_new):
        import torch

        self.queries = torch.as_tensor(np.stack(X_new), dtype=self.X.dtype)

    def adapt_predict(self, phi):
        import torch

        phi = self._from_flat(phi)
        size = chunk_size(self.work, self.X.shape[1], n_activations=2**19)
        chunks = zip(
            self.schedule[0][0].split(size), self.queries.split(size), strict=True
        )
        predictions = []
        for tasks, queries in chunks:
            theta, _ = self._adapt(phi, self._gather(tasks))
            with torch.no_grad():
                predictions.append(self._predict(theta, queries))
        return torch.cat(predictions).numpy()

    def run(self, phi, first, last, max_iter):
        import torch

        work = self.work
        phi = self._from_flat(phi)
        moment = [torch.zeros_like(p) for p in phi] if work.solver == "adam" else []
        for i in range(first, last):
            batches = self._gather(*self.schedule[i])
            t = (i - first) * work.inner_steps
            theta, moments = self._adapt(phi, batches, work.solver, moment, t)
            epsilon = work.meta_step * (1 - i / max_iter)
            with torch.no_grad():
                for p, ends in zip(phi, theta, strict=True):
                    p.lerp_(ends.mean(dim=0), epsilon)
                moment = [m.mean(dim=0) for m in moments]
        return self._to_flat(phi)


class TorchVmap(TorchStack):
    """The gradient of one task, mapped over the tasks by ``torch.func``."""

    name = "torch.func.vmap"

    def __init__(self, work, tasks, schedule):
        from torch.func import functional_call, grad, vmap

        super().__init__(work, tasks, schedule)
        module = torch_module(work)
        names = [name for name, _ in module.named_parameters()]

        def predict(params, x):
            return functional_call(module, dict(zip(names, params, strict=True)), (x,))

        def loss(params, x, y, w):
            return self.loss(predict(params, x), y, w)

        self._predict = vmap(predict)
        self._gradients = vmap(grad(loss))
        # The weights of a minibatch are one number, which all tasks share.
        self._gradients_minibatch = vmap(grad(loss), in_dims=(0, 0, 0, None))

    def _from_flat(self, phi):
        return to_linear(phi, self.work)

    def _to_flat(self, params):
        return from_linear(params)

    def _adapt(self, phi, batches, solver="sgd", moment=(), t=0):
        import torch

        rate, n_tasks = self.work.learning_rate, len(batches[0][0])
        theta = [p.expand(n_tasks, *p.shape).clone() for p in phi]
        moment = [m.expand(n_tasks, *m.shape).clone() for m in moment]
        for k, (x, y, w) in enumerate(batches, start=1):
            gradients = self._gradients if w.ndim else self._gradients_minibatch
            grads = gradients(theta, x, y, w)
            if solver == "sgd":
                torch._foreach_add_(theta, grads, alpha=-rate)
                continue
            rate_t = rate * math.sqrt(1 - BETA2 ** (t + k))
            for p, g, m in zip(theta, grads, moment, strict=True):
                m.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
                p.addcdiv_(g, m.sqrt().add_(EPSILON), value=-rate_t)
        return theta, moment


class TorchBatched(TorchStack):
    """Parameters stacked over the tasks, batched products and one backward pass."""

    name = "PyTorch, batched by hand"

    def _from_flat(self, phi):
        import torch

        arrays = split(np.asarray(phi, self.work.dtype), self.work.sizes)
        return [torch.tensor(np.atleast_2d(a)) for a in arrays]

    def _to_flat(self, params):
        return join([p.numpy() for p in params])

    def _predict(self, theta, x):
        import torch

        activation = torch.tanh if self.work.activation == "tanh" else torch.relu
        for W, b in zip(theta[:-2:2], theta[1:-2:2], strict=True):
            x = activation(torch.baddbmm(b, x, W))
        return torch.baddbmm(theta[-1], x, theta[-2])

    def _adapt(self, phi, batches, solver="sgd", moment=(), t=0):
        import torch

        rate, n_tasks = self.work.learning_rate, len(batches[0][0])
        theta = [p.repeat(n_tasks, 1, 1).requires_grad_() for p in phi]
        moment = [m.repeat(n_tasks, 1, 1) for m in moment]
        for k, (x, y, w) in enumerate(batches, start=1):
            grads = torch.autograd.grad(self.loss(self._predict(theta, x), y, w), theta)
            with torch.no_grad():
                if solver == "sgd":
                    torch._foreach_add_(theta, grads, alpha=-rate)
                    continue
                rate_t = rate * math.sqrt(1 - BETA2 ** (t + k))
                for p, g, m in zip(theta, grads, moment, strict=True):
                    m.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
                    p.addcdiv_(g, m.sqrt().add_(EPSILON), value=-rate_t)
        return theta, moment


class Jax:
    """All meta-iterations in one compiled loop, the data on the device throughout."""

    name = "JAX jit+vmap+scan"
    requires = ("jax",)

    def __init__(self, work, tasks, schedule):
        # One thread, like the others. JAX reads this when it is first used.
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
        import jax

        # Without this JAX has no float64. Arrays of float32 stay as they are.
        jax.config.update("jax_enable_x64", True)
        self.work = work
        self.data = tuple(jax.numpy.asarray(a) for a in pad(tasks, work.dtype))
        self.first_tasks = jax.numpy.asarray(schedule[0][0], "int32")
        # Meta-iterations whose batches have the same shape go into the same loop.
        self.stretches, start = [], 0
        for _, group in itertools.groupby(schedule, key=self._shapes):
            batch_tasks, rows = zip(*group, strict=True)
            stop = start + len(rows)
            rows = None if rows[0] is None else jax.numpy.asarray(rows, "int32")
            batch_tasks = jax.numpy.asarray(batch_tasks, "int32")
            self.stretches.append((start, stop, (batch_tasks, rows)))
            start = stop
        self._train = jax.jit(self._meta_iterations)
        self._predict = jax.jit(self._adapt_predict)
        phi = self._from_flat(np.zeros(count_parameters(work.sizes)))
        for _, _, batches in self.stretches:  # This compiles; no iteration runs.
            self._train((phi, self._moment(phi)), 0, 0, 0, 0, 1.0, batches, self.data)

    @classmethod
    def fits(cls, work):
        return True

    @staticmethod
    def _shapes(entry):
        return np.shape(entry[0]), np.shape(entry[1])

    def _from_flat(self, phi):
        import jax

        arrays = split(np.asarray(phi, self.work.dtype), self.work.sizes)
        return [jax.numpy.asarray(a) for a in arrays]

    def _moment(self, phi):
        return [0 * p for p in phi] if self.work.solver == "adam" else []

    def _forward(self, params, x):
        import jax

        activation = jax.numpy.tanh if self.work.activation == "tanh" else jax.nn.relu
        for W, b in zip(params[:-2:2], params[1:-2:2], strict=True):
            x = activation(x @ W + b)
        return x @ params[-2] + params[-1]

    def _loss(self, params, x, y, w):
        import jax

        out = self._forward(params, x)
        if self.work.loss == "squared_error":
            return 0.5 * (w * (out - y) ** 2).sum()
        if self.work.loss == "log_loss":
            return (w * (jax.nn.softplus(out) - y * out)).sum()
        return -(w * y * jax.nn.log_softmax(out)).sum()

    def _adapt(self, solver, data, phi, moment, t, task, rows=None):
        import jax
        import jax.numpy as jnp

        work = self.work
        X, Y, weights = data
        if rows is None:
            whole, batches = (X[task], Y[task], weights[task]), None
        else:
            whole, batches = None, (X[task, rows], Y[task, rows])

        def step(state, batch_and_k):
            theta, moment = state
            batch, k = batch_and_k
            batch = whole if batch is None else (*batch, 1 / rows.shape[1])
            grads = jax.grad(self._loss)(theta, *batch)
            rate = work.learning_rate
            if solver == "sgd":
                theta = [p - rate * g for p, g in zip(theta, grads, strict=True)]
                return (theta, moment), None
            rate *= jnp.sqrt(-jnp.expm1((t + k).astype(work.dtype) * math.log(BETA2)))
            moment = [
                BETA2 * m + (1 - BETA2) * g**2
                for m, g in zip(moment, grads, strict=True)
            ]
            theta = [
                p - rate * g / (jnp.sqrt(m) + EPSILON)
                for p, g, m in zip(theta, grads, moment, strict=True)
            ]
            return (theta, moment), None

        steps = jnp.arange(1, work.inner_steps + 1)
        return jax.lax.scan(step, (phi, moment), (batches, steps))[0]

    def _meta_iterations(
        self, state, begin, end, first, offset, max_iter, batches, data
    ):
        import jax

        work = self.work

        def meta_iteration(i, state):
            phi, moment = state
            tasks, rows = jax.tree.map(lambda a: a[i - offset], batches)
            t = (i - first) * work.inner_steps
            adapt = partial(self._adapt, work.solver, data, phi, moment, t)
            if count_parameters(work.sizes) < 2**16:
                theta, moments = jax.vmap(adapt)(tasks, rows)
            else:  # Large networks are faster one by one, even when compiled.
                theta, moments = jax.lax.map(lambda task: adapt(*task), (tasks, rows))
            epsilon = work.meta_step * (1 - i / max_iter).astype(work.dtype)
            phi = [
                p + epsilon * (ends.mean(axis=0) - p)
                for p, ends in zip(phi, theta, strict=True)
            ]
            return phi, [m.mean(axis=0) for m in moments]

        return jax.lax.fori_loop(begin, end, meta_iteration, state)

    def run(self, phi, first, last, max_iter):
        phi = self._from_flat(phi)
        state = phi, self._moment(phi)
        for start, stop, batches in self.stretches:
            begin, end = max(first, start), min(last, stop)
            if begin < end:
                state = self._train(
                    state, begin, end, first, start, float(max_iter), batches, self.data
                )
        return join(state[0])

    def _adapt_predict(self, phi, tasks, queries, data):
        import jax

        def one(task_and_query):
            task, query = task_and_query
            theta, _ = self._adapt("sgd", data, phi, [], 0, task)
            return self._forward(theta, query)

        size = chunk_size(self.work, data[0].shape[1], n_activations=2**16)
        if len(tasks) <= size:
            return jax.vmap(one)((tasks, queries))
        return jax.lax.map(one, (tasks, queries), batch_size=size)

    def prepare_queries(self, X_new):
        import jax

        self.queries = jax.numpy.asarray(np.stack(X_new), self.work.dtype)
        self.adapt_predict(np.zeros(count_parameters(self.work.sizes)))

    def adapt_predict(self, phi):
        phi = self._from_flat(phi)
        return np.asarray(self._predict(phi, self.first_tasks, self.queries, self.data))


class SklearnHack:
    """``partial_fit`` of a scikit-learn network whose weights are set from outside."""

    name = "scikit-learn warm start"
    requires = ("sklearn",)

    def __init__(self, work, tasks, schedule):
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        self.work, self.schedule = work, schedule
        self.X = [np.asarray(x, work.dtype) for x in tasks.X]
        settings = {
            "hidden_layer_sizes": work.sizes[1:-1],
            "activation": work.activation,
            "solver": "sgd",
            "alpha": 0.0,
            "learning_rate_init": work.learning_rate,
            "momentum": 0.0,
            "nesterovs_momentum": False,
            "shuffle": False,
            "batch_size": len(self.X[0]),
        }
        if work.loss == "squared_error":
            self.Y = [np.asarray(y, work.dtype) for y in tasks.Y]
            if work.sizes[-1] == 1:
                self.Y = [y.ravel() for y in self.Y]
            self.network = MLPRegressor(**settings)
            self.network.partial_fit(self.X[0], self.Y[0])
        else:
            self.Y = [np.argmax(y, axis=1) for y in tasks.Y]
            self.network = MLPClassifier(**settings)
            classes = np.arange(work.sizes[-1])
            self.network.partial_fit(self.X[0], self.Y[0], classes=classes)

    @classmethod
    def fits(cls, work):
        # With two classes, MLPClassifier has one output.
        return work.solver == "sgd" and (
            work.loss == "squared_error"
            or (work.loss == "softmax_log_loss" and work.sizes[-1] > 2)
        )

    def _adapt(self, phi, task, rows=None):
        network, x, y = self.network, self.X[task], self.Y[task]
        params = [p.copy() for p in split(phi, self.work.sizes)]
        network.coefs_, network.intercepts_ = params[::2], params[1::2]
        # Each call sees one batch, and so takes one step.
        network.batch_size = len(x) if rows is None else rows.shape[1]
        for k in range(self.work.inner_steps):
            if rows is None:
                network.partial_fit(x, y)
            else:
                network.partial_fit(x[rows[k]], y[rows[k]])
        return join(params)

    def run(self, phi, first, last, max_iter):
        from sklearn import config_context

        phi = np.array(phi, self.work.dtype)
        with config_context(assume_finite=True, skip_parameter_validation=True):
            for i in range(first, last):
                tasks, rows = self.schedule[i]
                ends = np.zeros_like(phi)
                for j, task in enumerate(tasks):
                    ends += self._adapt(phi, task, None if rows is None else rows[j])
                epsilon = self.work.meta_step * (1 - i / max_iter)
                phi += epsilon * (ends / len(tasks) - phi)
        return phi

    def prepare_queries(self, X_new):
        self.queries = [np.asarray(x, self.work.dtype) for x in X_new]

    def adapt_predict(self, phi):
        """Return outputs; for classes, logarithms of probabilities instead."""
        from sklearn import config_context

        phi, network = np.asarray(phi, self.work.dtype), self.network
        predictions = []
        with config_context(assume_finite=True, skip_parameter_validation=True):
            for task, query in zip(self.schedule[0][0], self.queries, strict=True):
                self._adapt(phi, task)
                if self.work.loss == "squared_error":
                    out = network.predict(query).reshape(len(query), -1)
                else:
                    out = network.predict_log_proba(query)
                predictions.append(out)
        return np.stack(predictions)


CONTENDERS = [NumpyLoop, TorchLoop, TorchVmap, TorchBatched, Jax, SklearnHack]


def available():
    """List the contenders whose requirements are installed."""
    return [c for c in CONTENDERS if all(find_spec(module) for module in c.requires)]
