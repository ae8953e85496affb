"""L-BFGS on one flat array, which goes on where costs and gradients are noisy. Its whole state can be read and set.

No TensorFlow. All vectors have the dtype of the array.
"""

import math
from collections import deque
from typing import Callable, Deque, Dict, NamedTuple, Sequence, Tuple

import numpy as np

#: Takes x and returns values and gradient, see `LBFGS`.
Evaluate = Callable[[np.ndarray], Tuple[Sequence[float], np.ndarray]]

#: A step must lower the cost by this share of what its slope promises (Nocedal and Wright, Section 3.1).
_SUFFICIENT = 1e-4
#: A pair with a smaller cosine between s and y says nothing about curvature.
_MIN_COSINE = 1e-4
#: Trials along a direction from the history, and along the gradient.
_TRIALS, _TRIALS_ALONG_GRADIENT = 6, 20
#: Entries that are worked on at a time: few enough to stay in the processor's cache and to sum in float32.
_BLOCK = 2**16


class _Pair(NamedTuple):
    s: np.ndarray  # change of x by an accepted step
    y: np.ndarray  # change of the gradient
    sy: float  # their product, positive


class LBFGS:
    """Minimise a function of many variables, step by step.

    Parameters
    ----------
    evaluate : callable
        Takes x, which it must not change. Returns

        - values: floats. The first one is minimised, the others are kept with it.
        - gradient of the first value: an array of x's shape, and a new one at each call.

    history : int
        Pairs of changes that are kept, at least 1. Each takes two arrays of x's size.
    first_change : float
        Largest change of an entry of x by the first step, which goes along the gradient.
    noise : float
        Share of the value by which a step may raise it; with 0 the value falls at each step. In bfloat16, differences
        of 1% are noise, and a search for a lower value often finds none.

    Attributes
    ----------
    x : ndarray
        The point that the last step led to. Its entries never change: a step puts a new array in its place.
    values : ndarray
        float64 (m,), the values there; (0,) if nothing was evaluated yet.
    evaluations : int
        Calls of `evaluate` since `start`.
    gave_up : str
        Why there is no further step; "" while there is one.

    Notes
    -----
    Source: J. Nocedal and S. Wright, "Numerical Optimization", 2006: Algorithm 7.4 (two-loop recursion), Equation 7.20
    (its initial matrix), Section 3.5 (interpolation). Unlike SciPy's L-BFGS-B it does not stop where the value falls
    slowly, and its line search does not ask for curvature: pairs without it are skipped.

    While `evaluate` runs, x, trial point, gradient and direction are in memory besides the pairs.
    """

    def __init__(self, evaluate: Evaluate, history: int = 20, first_change: float = 10.0, noise: float = 0.0) -> None:
        self._evaluate_at = evaluate
        self._first_change = first_change
        self._noise = noise
        self._pairs: Deque[_Pair] = deque(maxlen=history)

    def start(self, x: np.ndarray) -> None:
        """Forget all steps and stand at a point. Nothing is evaluated yet.

        Parameters
        ----------
        x : ndarray
            float32 or float64 (n,). It is copied.
        """
        self.x = np.array(x)
        self.values = np.empty(0)
        self._gradient = np.empty(0, self.x.dtype)
        self._pairs.clear()
        self.evaluations = 0
        self.gave_up = ""

    def step(self) -> np.ndarray:
        """Go to the next point; at the first call, evaluate the first point before. After `gave_up`, stay.

        Returns
        -------
        ndarray
            `values` of the point BEFORE the step.
        """
        if self.values.size == 0:
            self.values, self._gradient = self._evaluate(self.x)
        before = self.values
        if not self.gave_up:
            self.gave_up = self._move()
        return before

    def state(self) -> Dict[str, np.ndarray]:
        """Return all that the next step depends on, besides x.

        Returns
        -------
        dict of str to ndarray
            Copies: `values` float64 (m,), `gradient` (n,), pairs `s` and `y` (k, n), oldest first, `evaluations` and
            `gave_up` (). As long as nothing was evaluated, m and the gradient's n are 0.
        """
        s, y = (np.empty((len(self._pairs), self.x.size), self.x.dtype) for _ in range(2))
        for row, pair in enumerate(self._pairs):
            s[row], y[row] = pair.s, pair.y
        return {
            "values": self.values.copy(),
            "gradient": self._gradient.copy(),
            "s": s,
            "y": y,
            "evaluations": np.array(self.evaluations),
            "gave_up": np.array(self.gave_up),
        }

    def restore(self, x: np.ndarray, state: Dict[str, np.ndarray]) -> None:
        """Go on from a state, of this object or of one with the same parameters: with the same points, bit for bit.

        Parameters
        ----------
        x : ndarray
            `x` when the state was taken.
        state : dict of str to ndarray
            From `state`. Its arrays are copied.

        Raises
        ------
        ValueError
            If the state is one of another number of variables, or of none.
        """
        self.start(x)
        s, y, gradient = state["s"], state["y"], state["gradient"]
        if s.shape != y.shape or s.shape[1:] != x.shape or gradient.shape not in ((0,), x.shape):
            raise ValueError("the pairs or the gradient have another size")
        self.values = np.array(state["values"])
        self._gradient = np.array(gradient)
        for pair in zip(s, y):
            self._pairs.append(_Pair(pair[0].copy(), pair[1].copy(), _dot(*pair)))
        if (self.values.size == 0) != (gradient.size == 0) or not all(abs(pair.sy) > 0 for pair in self._pairs):
            raise ValueError("the state is that of no run")
        self.evaluations = int(state["evaluations"])
        self.gave_up = str(state["gave_up"])

    def _evaluate(self, x: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
        self.evaluations += 1
        values, gradient = self._evaluate_at(x)
        return np.array(values, np.float64), np.asarray(gradient, x.dtype)

    def _move(self) -> str:
        """Go to the next point, or return why there is none."""
        largest = _largest(self._gradient)
        if not math.isfinite(self.values[0]):
            return f"the cost at the start is {self.values[0]}"
        if not math.isfinite(largest):
            return "the gradient at the start has entries that are not finite"
        if largest == 0:
            return "the gradient is 0"
        if self._pairs and self._search(self._direction(), _TRIALS):
            return ""
        self._pairs.clear()
        direction = self._gradient / -largest
        direction *= self._first_change
        if self._search(direction, _TRIALS_ALONG_GRADIENT):
            return ""
        return f"the cost does not fall along the gradient, within the precision of {self.x.dtype}"

    def _direction(self) -> np.ndarray:
        """Return minus the gradient times L-BFGS's approximation of the inverse Hessian matrix."""
        direction = -self._gradient
        alphas = []
        for s, y, sy in reversed(self._pairs):
            alpha = _dot(s, direction) / sy
            _add(direction, -alpha, y)
            alphas.append(alpha)
        newest = self._pairs[-1]
        direction *= newest.sy / _dot(newest.y, newest.y)
        for (s, y, sy), alpha in zip(self._pairs, reversed(alphas)):
            _add(direction, alpha - _dot(y, direction) / sy, s)
        return direction

    def _search(self, direction: np.ndarray, trials: int) -> bool:
        """Go along a direction as far as the value allows; return whether that was possible."""
        slope = _dot(self._gradient, direction)
        if not slope < 0:  # also if it is NaN
            return False
        length = 1.0
        for _ in range(trials):
            x = direction * length
            x += self.x
            if np.array_equal(x, self.x):
                return False
            values, gradient = self._evaluate(x)
            change = float(values[0] - self.values[0])
            if not (math.isfinite(change) and math.isfinite(_largest(gradient))):
                length *= 0.1
            elif change <= _SUFFICIENT * length * slope + self._noise * abs(self.values[0]):
                self._accept(x, values, gradient)
                return True
            else:
                # Lowest point of the parabola through both values with this slope at the beginning. It is at most at
                # about half the length, since the value did not fall enough.
                length *= max(-slope * length / (2 * (change - slope * length)), 0.1)
            del x, gradient  # not in memory during the next evaluation
        return False

    def _accept(self, x: np.ndarray, values: np.ndarray, gradient: np.ndarray) -> None:
        s, y = x - self.x, gradient - self._gradient
        sy = _dot(s, y)
        if sy > _MIN_COSINE * math.sqrt(_dot(s, s) * _dot(y, y)):
            self._pairs.append(_Pair(s, y, sy))
        self.x, self.values, self._gradient = x, values, gradient


def _largest(array: np.ndarray) -> float:
    """Return the largest absolute value without an array of them; NaN if there is one."""
    return max(-float(array.min()), float(array.max()))


def _dot(a: np.ndarray, b: np.ndarray) -> float:
    # Sums of blocks, then their sum in float64. Not np.dot: the last bits of BLAS depend on where the arrays lie in
    # memory and on its threads, so a restored state would lead to another next step.
    whole = a.size - a.size % _BLOCK
    blocks = np.einsum("ij,ij->i", a[:whole].reshape(-1, _BLOCK), b[:whole].reshape(-1, _BLOCK))
    return float(blocks.sum(dtype=np.float64)) + float(np.einsum("i,i->", a[whole:], b[whole:]))


def _add(a: np.ndarray, factor: float, b: np.ndarray) -> None:
    """Add `factor` times `b` to `a`."""
    for start in range(0, a.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        a[block] += factor * b[block]
