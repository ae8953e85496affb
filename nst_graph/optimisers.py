"""Optimisers compute the next image from costs and gradient. The whole state of an optimiser can be read and set."""

from typing import Any, Dict, List, Tuple

import numpy as np

from nst_graph import lbfgs
from nst_graph.costs import Costs
from nst_graph.objective import Objective

#: An optimiser's state: arrays by name.
OptimiserState = Dict[str, np.ndarray]


#: What L-BFGS must tolerate in bfloat16. Costs differ by up to 1% there, and the difference of two by twice that.
NOISE = 0.02


class Optimiser:
    """Moves the image of an objective, step by step.

    Attributes
    ----------
    objective : Objective
        The objective, which is finalised: an optimiser adds its operations when it is made.
    operations : tuple of tf.Operation
        What a step runs in the objective's graph, for drawings of it.
    gave_up : str
        Why there is no further step; "" while there is one.
    knows_costs : bool
        Whether the costs of the image as it is now are known already, and finite.
    """

    objective: Objective
    operations: Tuple[Any, ...] = ()
    gave_up: str = ""
    knows_costs: bool = False

    def reset(self) -> None:
        """Forget all steps: the state is that of a new optimiser."""
        raise NotImplementedError

    def step(self) -> Costs:
        """Move the image by one step.

        Returns
        -------
        Costs
            Of the image BEFORE the step.
        """
        raise NotImplementedError

    def state(self) -> OptimiserState:
        """Return all that the next step depends on, besides the image and the targets."""
        raise NotImplementedError

    def restore(self, state: OptimiserState) -> None:
        """Set what `state` returned, here or in another process."""
        raise NotImplementedError


class Adam(Optimiser):
    """TensorFlow's Adam as an operation of the objective's graph: a step is one run of the session.

    Parameters
    ----------
    objective : Objective
        Not finalised yet; it is afterwards.
    learning_rate : float
        Adam's; the other constants are TensorFlow's: beta1 0.9, beta2 0.999, epsilon 1e-8.

    Notes
    -----
    Source: the article, "Create training operation"; D. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization",
    2014.

    Examples
    --------
    >>> from nst_graph import Adam, Objective, Settings, find_weights, load_img
    >>> settings = Settings(size=(48, 36))
    >>> paths = "input/cat.jpg", "input/starry_night.jpg"
    >>> images = [load_img(path, settings.size, settings.color_means) for path in paths]
    >>> with Objective(settings.size, settings, find_weights()) as objective:
    ...     adam = Adam(objective, learning_rate=2)
    ...     objective.take(objective.targets(*images))
    ...     objective.set_image(images[0])
    ...     adam.reset()
    ...     totals = [adam.step().total for _ in range(3)]
    ...     painted = objective.image()
    >>> totals[2] < totals[0]
    True
    >>> painted.shape
    (1, 36, 48, 3)
    """

    def __init__(self, objective: Objective, learning_rate: float) -> None:
        self.objective = objective
        with objective.building() as tf:
            optimizer = tf.train.AdamOptimizer(learning_rate)
            with tf.name_scope(objective.scope + "train/"):
                self._train_op = optimizer.apply_gradients([(objective.gradient, objective.input_var)])
            self._variables = optimizer.variables()
            # Without the scope: a state fits another objective of the same size.
            self._names = [variable.op.name[len(objective.scope) :] for variable in self._variables]
            # Never tf.global_variables_initializer(): it would put random numbers in place of the pretrained weights.
            with tf.name_scope(objective.scope):
                self._initialize = tf.variables_initializer(self._variables)
        objective.finalize()
        self.operations = (self._train_op,)

    def reset(self) -> None:
        """Initialise Adam's variables: both moments are 0 and no step is counted."""
        self.objective.session.run(self._initialize)

    def step(self) -> Costs:
        """Train the image by one step, in one run of the session; return the costs of the image BEFORE it."""
        costs, _ = self.objective.evaluate_with(self._train_op)
        return costs

    def state(self) -> OptimiserState:
        """Return Adam's variables: both moments, float32 (1, h, w, 3), and the powers of beta1 and beta2."""
        values = self.objective.session.run(self._variables)
        return dict(zip(self._names, values))

    def restore(self, state: OptimiserState) -> None:
        """Set Adam's variables."""
        initializers = [variable.initializer for variable in self._variables]
        # An initialiser assigns its second input. Feeding that input sets any value without a new operation.
        feed = {op.inputs[1]: state[name] for op, name in zip(initializers, self._names)}
        self.objective.session.run(initializers, feed_dict=feed)


class LBFGS(Optimiser):
    """L-BFGS: a step is one move that lowers the total cost. It takes one evaluation, and more where it has to search.

    Parameters
    ----------
    objective : Objective
        Not finalised yet; it is afterwards.
    history : int
        Pairs of images and gradients that are kept, two arrays of the image's size each.
    noise : float
        Share of the total cost by which a step may raise it: `NOISE` for an objective in bfloat16.

    Notes
    -----
    Source: L. Gatys et al. 2015 use L-BFGS. See `nst_graph.lbfgs`.

    Examples
    --------
    >>> from nst_graph import LBFGS, Objective, Settings, find_weights, load_img
    >>> settings = Settings(size=(48, 36))
    >>> paths = "input/cat.jpg", "input/starry_night.jpg"
    >>> images = [load_img(path, settings.size, settings.color_means) for path in paths]
    >>> with Objective(settings.size, settings, find_weights()) as objective:
    ...     lbfgs = LBFGS(objective)
    ...     objective.take(objective.targets(*images))
    ...     lbfgs.reset()
    ...     objective.set_image(images[0])
    ...     totals = [lbfgs.step().total for _ in range(3)]
    ...     print(lbfgs.evaluations >= 4)
    True
    >>> totals[0] > totals[1] > totals[2]
    True
    """

    def __init__(self, objective: Objective, history: int = 20, noise: float = 0.0) -> None:
        self.objective = objective
        objective.finalize()
        self.operations = (objective.gradient.op,)
        self._method = lbfgs.LBFGS(self._evaluate, history, noise=noise)
        self._fresh = True

    def _evaluate(self, x: np.ndarray) -> Tuple[List[float], np.ndarray]:
        width, height = self.objective.size
        self.objective.set_image(x.reshape((1, height, width, -1)))
        costs, gradient = self.objective.evaluate_with(self.objective.gradient)
        return [costs.total, *costs.values()], gradient.ravel()

    def _begin(self) -> None:
        """Stand at the objective's image, which is set after `reset`."""
        if self._fresh:
            self._method.start(self.objective.image().ravel())
            self._fresh = False

    @property
    def gave_up(self) -> str:  # type: ignore[override]
        """Why the cost cannot be lowered any more; "" while it can."""
        return "" if self._fresh else self._method.gave_up

    @property
    def knows_costs(self) -> bool:  # type: ignore[override]
        """Whether the image was evaluated: a step goes to no image whose costs are not finite."""
        return not self._fresh and bool(np.isfinite(self._method.values).all()) and self._method.values.size > 0

    @property
    def evaluations(self) -> int:
        """How often costs and gradient were computed since `reset`."""
        return 0 if self._fresh else self._method.evaluations

    def reset(self) -> None:
        """Forget all steps and free their memory; the next step begins at the objective's image."""
        self._method.start(np.empty(0, np.float32))
        self._fresh = True

    def step(self) -> Costs:
        """Move the image to one with a lower total cost; return the costs of the image BEFORE it."""
        self._begin()
        _, *before = self._method.step()
        # The last image that was evaluated is not the best one where the search gave up.
        if self._method.gave_up:
            width, height = self.objective.size
            self.objective.set_image(self._method.x.reshape((1, height, width, -1)))
        return Costs(zip(self.objective.costs, map(float, before)))

    def state(self) -> OptimiserState:
        """Return costs and gradient of the image, and the pairs."""
        self._begin()
        return self._method.state()

    def restore(self, state: OptimiserState) -> None:
        """Set what `state` returned; the objective has the image already."""
        if state["values"].shape not in ((0,), (1 + len(self.objective.costs),)):
            raise ValueError("it has other costs")
        self._method.restore(self.objective.image().ravel(), state)
        self._fresh = False
