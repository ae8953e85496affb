"""Costs and pixels that go wrong. They end a run before anything good is replaced by garbage.

No TensorFlow.
"""

import logging
import math
from typing import Any, Callable, Iterator, Mapping, Optional, Tuple

import numpy as np

from nst_graph.costs import CostName
from nst_graph.errors import DivergenceError
from nst_graph.settings import Settings

logger = logging.getLogger(__name__)

#: A total cost that is this many times the first one is reported.
_GROWTH = 1000
#: The largest finite float32.
_LARGEST = float(np.finfo(np.float32).max)
#: A coefficient of a layer from here on can lead to infinite costs: the article's sums are up to 1e12 without one.
_LARGE_COEFFICIENT = 1e25
#: From a total cost of about 1e24 on the squares that Adam takes of its gradient are infinite. The image becomes NaN,
#: and the costs may stay finite: a ReLU makes 0 of NaN. Below this cost that was never seen.
_LARGE_COST = 1e18
#: Pixels have values around 0, up to about 150. A picture that is optimised goes beyond that, but never this far.
_FAR_OUT = 10000
#: The article's learning rate is 2. A larger one than this moves a pixel beyond its range in one step.
_LARGE_LEARNING_RATE = 256


class Watch:
    """Looks at the costs and the pixels of a run.

    Parameters
    ----------
    settings : Settings
        Of the run: likely causes are found in them.
    image : callable
        Returns the image as it is now. It is called only to find a cause.
    """

    def __init__(self, settings: Settings, image: Callable[[], np.ndarray]) -> None:
        self._settings, self._image = settings, image
        self._first: Optional[Tuple[int, float]] = None
        self._last: Optional[Tuple[int, Mapping[Any, float]]] = None
        self._warned = False

    def check_costs(self, iteration: int, costs: Mapping[Any, float]) -> None:
        """Check the costs after an iteration. Where the total cost has grown a thousandfold, say so once.

        Parameters
        ----------
        iteration : int
            From 0; -1 are the costs of the image that a run starts from.
        costs : mapping of str to float
            Costs by name, `total` among them: see `nst_graph.costs.CostName`.

        Raises
        ------
        DivergenceError
            If one of them is infinite or NaN; or a pixel, where costs are so large that this is to be feared.
        """
        wrong = [f"the {_label(name)} is {costs[name]}" for name in _terms(costs) if not math.isfinite(costs[name])]
        if wrong:
            raise self._error(f"{_when(iteration)} {', '.join(wrong)}", iteration, costs, self._image())
        self._last = iteration, costs
        total = float(costs["total"])
        if total > _LARGE_COST:
            self.check_image(iteration + 1, self._image())  # the costs before a step come with it
        if self._first is None and total > 0:
            self._first = iteration, total
        if self._first is not None and total > _GROWTH * self._first[1] and not self._warned:
            self._warned = True
            rate = f": the learning rate {self._settings.learning_rate:g} is probably too large"
            logger.warning(
                "the total cost has grown from %.2e %s to %.2e %s%s",
                self._first[1],
                _when(self._first[0]),
                total,
                _when(iteration),
                rate if self._settings.optimizer == "adam" else "",
            )

    def check_image(self, iteration: int, image: np.ndarray) -> None:
        """Check the image after an iteration before a picture is made from it.

        Parameters
        ----------
        iteration : int
            From 0; -1 is the image that a run starts from.
        image : ndarray
            float32, of any shape.

        Raises
        ------
        DivergenceError
            If a pixel is infinite or NaN.
        """
        # Both are NaN if a pixel is. An array of truth values would take memory.
        if not (math.isfinite(image.min()) and math.isfinite(image.max())):
            raise self._error(f"{_when(iteration)} the image has pixels that are infinite or NaN", iteration, {}, image)

    def _error(self, what: str, iteration: int, costs: Mapping[Any, float], image: np.ndarray) -> DivergenceError:
        before = ""
        if self._last is not None:
            numbers = ", ".join(f"{_label(name)} {self._last[1][name]:.2e}" for name in _terms(self._last[1]))
            before = f" (the last good costs were those {_when(self._last[0])}: {numbers})"
        return DivergenceError(f"{what}{before}: {self._cause(iteration, costs, image)}")

    def _cause(self, iteration: int, costs: Mapping[Any, float], image: np.ndarray) -> str:
        """Return what has probably led to such numbers, and what to do."""
        settings = self._settings
        trained = iteration >= 0 and settings.optimizer == "adam"
        largest = float(np.abs([image.min(), image.max()]).max())
        rate = f"the learning rate {settings.learning_rate:g} is too large"
        if trained and largest > _FAR_OUT:
            return f"{rate}, values of the image are up to {largest:.1e}; take a smaller one"
        for name, weight in (("content", "alpha"), ("style", "beta"), ("total_variation", "tv_weight")):
            product = float(costs.get(name, 0)) * getattr(settings, weight)
            if math.isfinite(product) and product > _LARGEST / 3:
                return (
                    f"{weight} {getattr(settings, weight):g} times the {_label(name)} {costs[name]:.2e} is too large "
                    f"for float32, which ends at {_LARGEST:.1e}; take smaller weights"
                )
        coefficient = max(x for _, x in (*settings.content_layer_weights, *settings.style_layer_weights))
        if coefficient > _LARGE_COEFFICIENT:
            return f"the coefficient {coefficient:g} of a layer is too large for float32; take smaller ones"
        if self._last is not None and self._last[1]["total"] > _LARGE_COST:
            return "the weights of the costs are so large that the gradient leaves float32; take smaller ones"
        if trained and settings.learning_rate > _LARGE_LEARNING_RATE:
            return f"{rate}; take a smaller one"
        width_height = "x".join(map(str, image.shape[-2:-4:-1]))
        beyond = f"the network's activations or their sums over {width_height} pixels are too large for"
        if iteration < 0:
            return f"{beyond} {settings.precision}; are VGG-19's weights damaged, or another network's?"
        if settings.precision == "bfloat16":
            return f"{beyond} bfloat16; take float32" + (", or a smaller learning rate" if trained else "")
        return f"{beyond} float32" + ("; take a smaller learning rate" if trained else "")


def _when(iteration: int) -> str:
    return "before the first iteration" if iteration < 0 else f"after iteration {iteration}"


def _label(name: str) -> str:
    return CostName(name).label.lower()


def _terms(costs: Mapping[Any, float]) -> Iterator[str]:
    """Return the names of the costs without the layers' shares."""
    return (name for name in costs if not CostName(name).layer)
