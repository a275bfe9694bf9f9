"""The gradient of `network.py`, planned: buffers made once, calls listed once.

On a handful of rows a small network spends its time between the operations, not in
them. So a `Plan` makes every array and every view of it beforehand and writes the
gradient down as a list of calls, ``[(function, arguments), ...]``. One step is a loop
over this list. It computes the same as `network.loss_and_gradient`, which is the
version to read, and tests compare the two.

Two choices shorten the list. Activations have one more column than units, which is
always 1, so that biases are rows of the weights. This column is computed like any other
(as the activation of a constant), so element-wise calls run over contiguous memory. And
for a single task the arrays have no task axis, since a product of matrices costs less
per call than a product of stacks. Plain descent on one or two tasks goes further and
calls BLAS itself: see `BlasSteps`.
"""

import threading
from functools import partial, wraps

import numpy as np
from scipy.linalg import get_blas_funcs

from skmeta._core.network import HUBER_DELTA, LAYER_NORM_EPS, LOSSES

# The parameters or rows of the tasks side by side take this much room, so that they
# stay in the L2 cache.
CHUNK_BYTES = 2**19
# But at least this many tasks run side by side: fewer would mean more calls, which
# cost more than the cache saves.
MIN_TASKS_SIDE_BY_SIDE = 5
# A product with a weight matrix of at least this many numbers, for at most this many
# rows, is faster transposed: see `Plan._times_transpose`.
LARGE_MATRIX, ROWS_TO_TRANSPOSE = 2**13, 32
# A thread keeps at most this many workspaces, and plans in each.
MAX_WORKSPACES, MAX_PLANS = 4, 64
# A thread keeps at most this much of its buffers from one use to the next.
KEPT_BYTES = 2**24
# A larger plan is not kept: next to using it, making it takes little time.
BIG_BYTES = 2**20
# Products of at most so many tasks are faster one by one, by BLAS itself, ...
MOST_BLAS_TASKS = 2
# ... but for fewer steps than this, copying the parameters would cost what that saves.
MIN_BLAS_STEPS = 2
# Arrays begin at a multiple of so many bytes, the width of vector registers. Otherwise
# each access to memory meets two lines of the cache, and some calls take twice as long.
ALIGNMENT = 64
# Each activation turns this number into exactly 1.
TURNED_INTO_ONE = {"tanh": 20.0, "relu": 1.0}


def tasks_side_by_side(network, dtype, n_rows=0):
    """How many tasks to run side by side, by the room of their parameters or rows."""
    numbers = max(network.layout.n_params, n_rows * (network.layout.sizes[0] + 1))
    return max(
        MIN_TASKS_SIDE_BY_SIDE, CHUNK_BYTES // (numbers * np.dtype(dtype).itemsize)
    )


def aligned(shape, dtype, value=0.0):
    """A new array full of ``value``, which begins at a multiple of `ALIGNMENT`."""
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.empty(n_bytes + ALIGNMENT, np.uint8)
    first = -room.__array_interface__["data"][0] % ALIGNMENT
    array = room[first : first + n_bytes].view(dtype).reshape(shape)
    array.fill(value)
    return array


def aligned_like(array, value=0.0):
    """The same, with the shape and the type of an array."""
    return aligned(array.shape, array.dtype, value)


class Workspace:
    """Parameters and gradients of many tasks, and the plans that work on them.

    ``nbytes`` counts all buffers that are kept.
    """

    def __init__(self, network, dtype):
        self.network, self.dtype = network, np.dtype(dtype)
        self._plans, self._used = {}, {}
        self._allocate(1)

    def plan(self, n_tasks, n_rows, input_gradient=False):
        """The plan of this shape: a kept one, or else a new one."""
        if n_tasks > len(self._flat[0]):
            self._allocate(n_tasks)
        shape = (n_tasks, n_rows, input_gradient)
        plan = self._plans.pop(shape, None)
        if plan is None:
            self._make_room()
            flat = [buffer[:n_tasks] for buffer in self._flat]
            plan = Plan(self.network, n_rows, *flat, input_gradient=input_gradient)
            self.nbytes += plan.nbytes
        self._plans[shape] = self._used[shape] = plan
        return plan

    def clear(self):
        """Wipe the rows and parameters that the last uses have left."""
        for plan in self._used.values():
            plan.clear()
        self._used.clear()
        self._count()  # a plan may have grown with its use

    def _count(self):
        arrays = [*self._flat, *self._plans.values()]
        self.nbytes = sum(array.nbytes for array in arrays)

    def _make_room(self):
        """Drop big plans, and the oldest ones if there are too many."""
        sizes = {shape: plan.nbytes for shape, plan in self._plans.items()}
        total = sum(sizes.values())
        for shape, size in sizes.items():  # the longest unused come first
            many = len(self._plans) >= MAX_PLANS or total > KEPT_BYTES
            if many or size > BIG_BYTES:
                total -= size
                self.nbytes -= size
                self._plans.pop(shape)
                self._used.pop(shape, None)

    def _allocate(self, n_tasks):
        shape = (n_tasks, self.network.layout.n_params)
        self._plans.clear()
        self._used.clear()
        self._flat = [aligned(shape, self.dtype) for _ in range(5)]
        self._count()


# Each thread has buffers of its own.
_local = threading.local()


def workspace(network, dtype):
    """The workspace of this thread for a network."""
    # an OrderedDict would be broken for good by an interrupt as it compares two keys
    known = _local.__dict__.setdefault("workspaces", {})
    key = (network, np.dtype(dtype))
    found = known.pop(key, None) or Workspace(network, dtype)
    known[key] = found
    if len(known) > MAX_WORKSPACES:
        known.pop(next(iter(known)))
    return found


def wiping(function):
    """Decorator: wipe the buffers of this thread when the function ends.

    The next user of the buffers may be anybody, so no rows stay in them. At most
    `KEPT_BYTES` of them stay.
    """

    @wraps(function)
    def wiped(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        finally:
            _wipe()

    return wiped


def _wipe():
    known = _local.__dict__.get("workspaces", {})
    for room in known.values():
        room.clear()
    total = sum(room.nbytes for room in known.values())
    while total > KEPT_BYTES:
        total -= known.pop(next(iter(known))).nbytes


class Plan:
    """Loss and gradient of T networks on n rows each.

    Attributes
    ----------
    theta, G : ndarray of shape (T, P)
        Parameters are read from the first, and gradients are written to the second.
    spare : tuple of three ndarray of shape (T, P)
        Room for the loops of `planned.py`.
    D : ndarray of shape (T, n, d + 1)
        Only with ``input_gradient``: the derivative in the rows. Its last column has no
        meaning.
    """

    def __init__(self, network, n_rows, theta, G, *spare, input_gradient=False):
        self.network, self.theta, self.G, self.spare = network, theta, G, spare
        self._data = [theta, G, *spare]  # all that depends on rows or parameters
        self._squeeze = len(theta) == 1
        sizes, self._n_rows = network.layout.sizes, n_rows
        # The outputs of all hidden layers stand one after the other in one array.
        self._widths = [width + 1 for width in sizes[1:-1]]
        n_numbers = sum(part.stop - part.start for part in self._parts())
        self._hidden = self._of_data(aligned(n_numbers, self.theta.dtype, 1.0))
        one = float(network.intercept)  # of no effect on outputs: then the bias is 0
        self._inputs = [self._array(sizes[0] + 1, one), *self._split(self._hidden)]
        self._of_data(self._inputs[0][..., :-1])
        self._Z, self._Y, self._residual, self._D = (
            self._of_data(self._array(sizes[-1])) for _ in range(4)
        )
        self._weight = self._of_data(self._array(1))
        self._offset = None
        blocks = [self._view(block) for block in network.layout.blocks(theta)]
        slopes = [self._view(block) for block in network.layout.blocks(G)]
        self._norms = [Norm(self, i) for i in range(len(self._widths))]
        self._slopes_calls = self._slope_calls()
        self._forward = self._forward_calls(blocks)
        self._loss = self._loss_calls()
        self._backward = self._backward_calls(blocks, slopes, input_gradient)
        self._calls = self._forward + self._loss + self._backward
        self._blas = None
        self._count()

    def _count(self):
        shared = 2 + len(self.spare)
        self.nbytes = sum(array.nbytes for array in self._data[shared:])

    def _of_data(self, array):
        """An array that `clear` wipes."""
        self._data.append(array)
        return array

    def clear(self):
        """Wipe rows, parameters and all that was computed from them."""
        for array in self._data:
            array.fill(0.0)
        if self._offset is not None:
            self._offset.fill(0.0)

    # -- use --------------------------------------------------------------------------

    @property
    def rows(self):
        """The buffer of the rows (T, n, d)."""
        X = self._inputs[0][..., :-1]
        return X[None] if self._squeeze else X

    @property
    def weights(self):
        """The buffer of the weights of the rows."""
        return self._weight

    def load(self, X, Y, weight, offset=None):
        """Copy rows in: X (T, n, d), Y (T, n, o), weight (T, n)."""
        self.rows[...] = X
        self.load_targets(Y, weight, offset)

    def load_targets(self, Y, weight, offset=None):
        """Copy in what belongs to the rows, which are there already."""
        self._Y[...] = self._view(Y)
        self._weight[...] = self._view(weight)[..., None]
        if (offset is None) != (self._offset is None):
            self._offset = None if offset is None else np.empty_like(self._Z)
            add = [] if offset is None else [(np.add, (self._Z, self._offset, self._Z))]
            self._calls = self._forward + add + self._loss + self._backward
        if offset is not None:
            self._offset[...] = self._view(offset)

    def gradient(self):
        """Write the gradient at ``theta`` to ``G``."""
        for function, arguments in self._calls:
            function(*arguments)
        return self.G

    def descend(self, n_steps):
        """Take steps of gradient descent with rate 1, on the rows that are loaded."""
        few = len(self.theta) <= MOST_BLAS_TASKS and not self.network.layout.layer_norm
        if few and n_steps >= MIN_BLAS_STEPS:
            if self._blas is None:
                self._blas = BlasSteps(self)
                self._count()
            self._blas.take(n_steps)
            return
        update = (np.subtract, (self.theta, self.G, self.theta))
        calls = [*self._calls, update]
        for _ in range(n_steps):
            for function, arguments in calls:
                function(*arguments)

    def losses(self):
        """Mean loss of each task (T,) at ``theta``, without the gradient."""
        for function, arguments in self._calls[: -len(self._backward)]:
            function(*arguments)
        return self.value()

    def outputs(self):
        """Raw outputs (T, n, o) at ``theta``, without offsets."""
        for function, arguments in self._forward:
            function(*arguments)
        return self._Z[None] if self._squeeze else self._Z

    def value(self):
        """Mean loss of each task (T,) where the last gradient was computed."""
        if self.network.loss == "squared_error":
            if self._squeeze:
                return 0.5 * np.vdot(self._residual, self._D)[None]
            return 0.5 * np.einsum("tno,tno->t", self._residual, self._D)
        value, _ = LOSSES[self.network.loss](self._Z, self._Y)
        return np.atleast_1d((self._weight[..., 0] * value).sum(axis=-1))

    # -- the calls --------------------------------------------------------------------

    def _forward_calls(self, blocks):
        calls = []
        for i, following in enumerate(self._inputs[1:]):
            Z = aligned_like(following, TURNED_INTO_ONE[self.network.activation])
            self._of_data(Z[..., :-1])
            calls.append((np.matmul, (self._inputs[i], blocks[i], Z[..., :-1])))
            if self.network.layout.layer_norm:
                calls += self._norms[i].forward(Z[..., :-1])
            calls.append(self._activation_call(Z, following))
        calls.append((np.matmul, (self._inputs[-1], blocks[-1], self._Z)))
        return calls

    def _activation_call(self, Z, A):
        if self.network.activation == "tanh":
            return np.tanh, (Z, A)
        # The maximum with an array of zeros is three times as fast as with 0.
        return partial(np.maximum, out=A), (Z, aligned_like(Z))

    def _loss_calls(self):
        """Calls that compute D, the derivative of the weighted mean loss in Z."""
        Z, Y, R, D = self._Z, self._Y, self._residual, self._D
        weigh = (np.multiply, (R, self._weight, D))
        match self.network.loss:
            case "squared_error":
                return [(np.subtract, (Z, Y, R)), weigh]
            case "huber":
                limit = np.full_like(R, HUBER_DELTA)
                return [
                    (np.subtract, (Z, Y, R)),
                    (partial(np.minimum, out=R), (R, limit)),
                    (partial(np.maximum, out=R), (R, -limit)),
                    weigh,
                ]
            case "log_loss":
                # p = (1 + tanh(z / 2)) / 2 is fast, since tanh runs on vector units.
                half = np.full((), 0.5, self.theta.dtype)
                return [
                    (np.multiply, (Z, half, R)),
                    (np.tanh, (R, R)),
                    (np.multiply, (R, half, R)),
                    (np.add, (R, half, R)),
                    (np.subtract, (R, Y, R)),
                    weigh,
                ]
            case "softmax_log_loss":
                top = self._of_data(np.empty_like(self._weight))
                greatest = partial(np.maximum.reduce, axis=-1, out=top, keepdims=True)
                total = partial(np.add.reduce, axis=-1, out=top, keepdims=True)
                return [
                    (greatest, (Z,)),
                    (np.subtract, (Z, top, R)),
                    (np.exp, (R, R)),
                    (total, (R,)),
                    (np.divide, (R, top, R)),
                    (np.subtract, (R, Y, R)),
                    weigh,
                ]

    def _backward_calls(self, blocks, slopes, input_gradient):
        calls, D = list(self._slopes_calls), self._D
        for i in reversed(range(len(blocks))):
            A = self._inputs[i]
            if self.network.layout.layer_norm and i < len(self._norms):
                more, D = self._norms[i].backward(D)
                calls += more
            calls.append((np.matmul, (A.swapaxes(-1, -2), D, slopes[i])))
            if i == 0 and not input_gradient:
                break
            product, below = self._times_transpose(D, blocks[i], A)
            calls += product
            if i == 0:
                self.D = below[None] if self._squeeze else below
                break
            full = self._of_data(aligned_like(A))
            calls.append((np.multiply, (below, self._slopes[i - 1], full)))
            D = full[..., :-1]
        return calls

    def _slope_calls(self):
        """Calls that compute the derivatives of all hidden activations at once."""
        A, slope = self._hidden, self._of_data(aligned_like(self._hidden))
        self._slopes = self._split(slope)
        if self.network.activation == "relu":
            return [(np.sign, (A, slope))] if A.size else []
        one = np.ones((), self.theta.dtype)
        square = (np.multiply, (A, A, slope))
        return [square, (np.subtract, (one, slope, slope))] if A.size else []

    def _times_transpose(self, D, W, like):
        """Calls that compute D W', and the array of the result."""
        result, WT = self._of_data(aligned_like(like)), W.swapaxes(-1, -2)
        if D.shape[-1] == 1:  # matmul is slow at outer products
            return [(np.multiply, (D, WT, result))], result
        small = W.shape[-1] * W.shape[-2] < LARGE_MATRIX
        if small or self._n_rows > ROWS_TO_TRANSPOSE:
            return [(np.matmul, (D, WT, result))], result
        # (W D')' is up to twice as fast as D W' if W is large and D is not.
        DT = self._of_data(aligned_like(D.swapaxes(-1, -2)))
        result = self._of_data(aligned_like(like.swapaxes(-1, -2)))
        copied = (np.copyto, (DT, D.swapaxes(-1, -2)))
        return [copied, (np.matmul, (W, DT, result))], result.swapaxes(-1, -2)

    # -- arrays -----------------------------------------------------------------------

    def _array(self, width, value=0.0):
        shape = (len(self.theta), self._n_rows, width)
        return self._view(aligned(shape, self.theta.dtype, value))

    def _parts(self):
        """The place of each hidden layer in one flat array; each begins aligned."""
        unit = ALIGNMENT // self.theta.itemsize
        parts, end = [], 0
        for width in self._widths:
            size = len(self.theta) * self._n_rows * width
            parts.append(slice(end, end + -(-size // unit) * unit))
            end = parts[-1].stop
        return parts

    def _split(self, flat):
        """The part (T, n, width) of each hidden layer."""
        n_rows = len(self.theta) * self._n_rows
        return [
            self._view(flat[part][: n_rows * width].reshape(-1, self._n_rows, width))
            for part, width in zip(self._parts(), self._widths, strict=True)
        ]

    def _view(self, stack):
        """The array without its task axis, if there is only one task."""
        return stack[0] if self._squeeze else stack


class Norm:
    """The calls that normalise a hidden layer over its units (Ba et al., 2016)."""

    def __init__(self, plan, i):
        if not plan.network.layout.layer_norm:
            return
        layer, slope = (plan.network.layout.layers(v)[i] for v in (plan.theta, plan.G))
        self._gain, self._shift, self._gain_slope, self._shift_slope = (
            plan._view(part[:, None])
            for part in (layer.gain, layer.shift, slope.gain, slope.shift)
        )
        width = layer.gain.shape[-1]
        self._standard, self._product, self._D = (
            plan._of_data(plan._array(width)) for _ in range(3)
        )
        self._mean, self._deviation = (plan._of_data(plan._array(1)) for _ in range(2))
        # Sums are computed as products, which are faster.
        self._to_mean = np.full((width, 1), 1.0 / width, plan.theta.dtype)
        self._to_sum = np.ones((1, plan._n_rows), plan.theta.dtype)
        self._eps = np.full((), LAYER_NORM_EPS, plan.theta.dtype)

    def forward(self, Z):
        """Calls that replace Z by gain * z-hat + shift."""
        z, product, deviation = self._standard, self._product, self._deviation
        return [
            (np.matmul, (Z, self._to_mean, self._mean)),
            (np.subtract, (Z, self._mean, z)),
            (np.multiply, (z, z, product)),
            (np.matmul, (product, self._to_mean, deviation)),
            (np.add, (deviation, self._eps, deviation)),
            (np.sqrt, (deviation, deviation)),
            (np.divide, (z, deviation, z)),
            (np.multiply, (z, self._gain, Z)),
            (np.add, (Z, self._shift, Z)),
        ]

    def backward(self, D):
        """Calls that turn the derivative D in the output into that in the input.

        Returns them and the array of the result.
        """
        z, product, result = self._standard, self._product, self._D
        return [
            (np.multiply, (D, z, product)),
            (np.matmul, (self._to_sum, product, self._gain_slope)),
            (np.matmul, (self._to_sum, D, self._shift_slope)),
            (np.multiply, (D, self._gain, result)),
            (np.matmul, (result, self._to_mean, self._mean)),
            (np.subtract, (result, self._mean, result)),
            (np.multiply, (result, z, product)),
            (np.matmul, (product, self._to_mean, self._mean)),
            (np.multiply, (z, self._mean, product)),
            (np.subtract, (result, product, result)),
            (np.divide, (result, self._deviation, result)),
        ], result


class BlasSteps:
    """Steps of gradient descent on a few networks, by BLAS itself.

    On a few rows NumPy takes longer around a product of matrices than in it. BLAS also
    adds a product to what is there: W - A'D is a single call, so that no gradient is
    stored and no further pass subtracts it.

    BLAS writes whole arrays only. So the weights of a hidden layer are kept here with
    one more column. It is zero but for the row of the bias, and makes the column of
    ones of the next layer's input.
    """

    def __init__(self, plan):
        self._plan, self._gemm = plan, get_blas_funcs("gemm", dtype=plan.theta.dtype)
        blocks = plan.network.layout.blocks(plan.theta)
        more = [*[1 for _ in blocks[1:]], 0]
        padded = [
            self._new(*block.shape[:2], block.shape[2] + n)
            for block, n in zip(blocks, more, strict=True)
        ]
        self._copies = [
            (own[..., : given.shape[2]], given)
            for own, given in zip(padded, blocks, strict=True)
        ]
        self._last_columns = [own[..., -1] for own in padded[:-1]]
        self._forward = self._forward_calls(padded)
        self._backward = self._backward_calls(padded)

    def _new(self, *shape):
        return self._plan._of_data(aligned(shape, self._plan.theta.dtype))

    def take(self, n_steps):
        """Take steps with rate 1 from the plan's parameters, which it changes."""
        one = TURNED_INTO_ONE[self._plan.network.activation]
        for own, given in self._copies:
            own[...] = given
        for column in self._last_columns:
            column[:, :-1], column[:, -1] = 0.0, one
        calls = self.calls
        for _ in range(n_steps):
            for function, arguments in calls:
                function(*arguments)
        for own, given in self._copies:
            given[...] = own

    @property
    def calls(self):
        """The calls of a step: forward, the plan's own for the loss, and backward."""
        between = slice(len(self._plan._forward), -len(self._plan._backward))
        return [*self._forward, *self._plan._calls[between], *self._backward]

    def _forward_calls(self, padded):
        plan, calls = self._plan, []
        inputs = plan._inputs
        for A, W, following in zip(inputs, padded, inputs[1:], strict=False):
            Z = plan._of_data(aligned_like(following))
            calls += self._product(A, W, Z)
            calls.append(plan._activation_call(Z, following))
        return [*calls, *self._product(inputs[-1], padded[-1], plan._Z)]

    def _backward_calls(self, padded):
        plan = self._plan
        calls, D = [*plan._slopes_calls, *self._without_ones()], plan._D
        for i in reversed(range(len(padded))):
            A, W = plan._inputs[i], padded[i]
            if i == 0:
                return [*calls, *self._minus_product(W, A, D)]
            below = plan._of_data(aligned_like(A))
            calls += self._times_transpose(D, W, below)
            calls += self._minus_product(W, A, D)
            calls.append((np.multiply, (below, plan._slopes[i - 1], below)))
            D = below

    def _without_ones(self):
        """Calls that make the slopes of the columns of ones zero.

        Those of tanh are zero.
        """
        plan = self._plan
        if plan.network.activation == "tanh" or not plan._slopes:
            return []
        ((_, (_, slopes)),) = plan._slopes_calls
        kept = aligned_like(slopes, 1.0)
        for part in plan._split(kept):
            part[..., -1] = 0.0
        return [(np.multiply, (slopes, kept, slopes))]

    # -- products of C-contiguous arrays; BLAS takes them for their transposes --------

    def _product(self, A, B, out):
        """The calls that compute A B."""
        return [
            (self._gemm, (1.0, b.T, a.T, 0.0, c.T, 0, 0, 1))
            for a, b, c in self._of_tasks(A, B, out)
        ]

    def _times_transpose(self, D, W, out):
        """The calls that compute D W'."""
        return [
            (self._gemm, (1.0, w.T, d.T, 0.0, c.T, 1, 0, 1))
            for d, w, c in self._of_tasks(D, W, out)
        ]

    def _minus_product(self, W, A, D):
        """The calls that subtract A'D from W."""
        return [
            (self._gemm, (-1.0, d.T, a.T, 1.0, w.T, 0, 1, 1))
            for w, a, d in self._of_tasks(W, A, D)
        ]

    @staticmethod
    def _of_tasks(*stacks):
        """The matrices of each task."""
        matrices = [stack if stack.ndim == 3 else stack[None] for stack in stacks]
        return zip(*matrices, strict=True)
