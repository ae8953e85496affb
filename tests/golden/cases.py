"""The cases whose numbers are in numpy_goldens.json, as data.

`regenerate.py` computes them with the independent float64 version, `test_numpy_goldens.py` compares the program with
them. A new case is an entry here and a run of `regenerate.py`.
"""

from typing import Any, Dict, NamedTuple, Tuple

import numpy as np

from tests.reference.numpy_nst import LAYER_NAMES

CONTENT_IMG_PATH = "input/cat.jpg"
STYLE_IMG_PATH = "input/starry_night.jpg"


class Activations(NamedTuple):
    """Made-up activations: float32, uniform in -1..3, of the given shape (1, n_h, n_w, n_c)."""

    seed: int
    shape: Tuple[int, int, int, int]

    def array(self) -> np.ndarray:
        return np.random.RandomState(self.seed).uniform(-1, 3, self.shape).astype(np.float32)


class Masks(NamedTuple):
    """Made-up masks: float32, uniform in 0..2, a third of it 0, of the given shape (n_h * n_w, 1), or (k, ..., 1)."""

    seed: int
    shape: Tuple[int, ...]

    def array(self) -> np.ndarray:
        return np.maximum(np.random.RandomState(self.seed).uniform(-1, 2, self.shape), 0).astype(np.float32)


class Grams(NamedTuple):
    """Gram matrices of made-up activations of two positions: float32 (k, n_c, n_c)."""

    seed: int
    shape: Tuple[int, int]

    def array(self) -> np.ndarray:
        styles, channels = self.shape
        rows = np.random.RandomState(self.seed).uniform(-1, 3, (styles, 2, channels))
        return np.einsum("spc,spd->scd", rows, rows).astype(np.float32)


def realised(argument: Any) -> Any:
    """Replace each `Activations`, `Masks` and `Grams` in an argument by its array."""
    if isinstance(argument, (Activations, Masks, Grams)):
        return argument.array()
    return [realised(entry) for entry in argument] if isinstance(argument, list) else argument


ODD, WIDE, ONE_POSITION, ONE_CHANNEL = (1, 5, 7, 3), (1, 2, 9, 6), (1, 1, 1, 8), (1, 4, 3, 1)

#: Public function of `nst_graph.costs` -> case -> arguments. A case with "mask" in its name has masks.
FUNCTIONS: Dict[str, Dict[str, list]] = {
    "content_cost": {
        "odd size": [Activations(1, ODD), Activations(2, ODD)],
        "one position": [Activations(3, ONE_POSITION), Activations(4, ONE_POSITION)],
        "one channel": [Activations(5, ONE_CHANNEL), Activations(6, ONE_CHANNEL)],
    },
    "content_layers_cost": {
        "one layer": [[Activations(28, ODD)], [Activations(29, ODD)], [1.0]],
        "one layer with a weight": [[Activations(30, ODD)], [Activations(31, ODD)], [0.7]],
        "three layers": [
            [Activations(32, ODD), Activations(33, WIDE), Activations(34, ONE_POSITION)],
            [Activations(35, ODD), Activations(36, WIDE), Activations(37, ONE_POSITION)],
            [0.3, 1.7, 0.05],
        ],
    },
    "total_variation_cost": {
        "odd size": [Activations(38, ODD)],
        "one row": [Activations(39, (1, 1, 4, 3))],
        "one column": [Activations(40, (1, 4, 1, 3))],
        "one pixel": [Activations(41, (1, 1, 1, 3))],
    },
    "gram_matrix": {
        "odd size": [Activations(7, ODD)],
        "one position": [Activations(8, ONE_POSITION)],
        "one channel": [Activations(9, ONE_CHANNEL)],
        "mask": [Activations(42, ODD), Masks(43, (35, 1))],
    },
    "style_cost": {
        "one layer": [[Activations(10, ODD)], [Activations(11, ODD)], [1.0]],
        "three layers": [
            [Activations(12, ODD), Activations(13, WIDE), Activations(14, ONE_POSITION)],
            [Activations(15, ODD), Activations(16, WIDE), Activations(17, ONE_POSITION)],
            [0.3, 1.7, 0.05],
        ],
        # Only the channels must agree: a style picture may be of another size than the generated one.
        "style of another size": [[Activations(18, (1, 3, 4, 3))], [Activations(19, ODD)], [0.5]],
        "one style with a mask": [[Grams(44, (1, 3))], [Activations(45, ODD)], [0.5], [Masks(46, (1, 35, 1))], [1.0]],
        "two styles with masks": [
            [Grams(47, (2, 3)), Grams(48, (2, 6))],
            [Activations(49, ODD), Activations(50, WIDE)],
            [0.3, 1.7],
            [Masks(51, (2, 35, 1)), Masks(52, (2, 18, 1))],
            [0.75, 0.25],
        ],
    },
    # What goes in is the cost that this function makes of these arguments.
    "layer_costs": {
        "one layer": ["style_cost", [Activations(20, ODD)], [Activations(21, ODD)], [0.7]],
        "three layers": [
            "style_cost",
            [Activations(22, ODD), Activations(23, WIDE), Activations(24, ONE_POSITION)],
            [Activations(25, ODD), Activations(26, WIDE), Activations(27, ONE_POSITION)],
            [0.3, 1.7, 0.05],
        ],
        "two layers with masks": [
            "style_cost",
            [Grams(53, (2, 3)), Grams(54, (2, 6))],
            [Activations(55, ODD), Activations(56, WIDE)],
            [0.3, 1.7],
            [Masks(57, (2, 35, 1)), Masks(58, (2, 18, 1))],
            [0.75, 0.25],
        ],
        "two content layers": [
            "content_layers_cost",
            [Activations(59, ODD), Activations(60, WIDE)],
            [Activations(61, ODD), Activations(62, WIDE)],
            [0.3, 1.7],
        ],
    },
    "total_cost": {
        "the article's weights": [5971.25, 254285472.0, 10, 40],
        "fractions": [0.75, 3.5, 0.1, 2.5],
        "content alone": [0.75, 3.5, 1, 0],
        "total variation": [0.75, 3.5, 0.1, 2.5, 1.25, 40.0],
        "total variation alone": [0.75, 3.5, 0, 0, 1.25, 0.3],
    },
}

#: Width and height of the pictures on which each layer is looked at; the layers from block 3's pool on are 1x1 at 5x3.
LAYER_SIZES = ((33, 17), (5, 3))

#: Every layer that can be a content or a style layer.
LAYER_INDICES = range(1, len(LAYER_NAMES))

#: Mix and seed of the start image for the layers' costs.
LAYER_NOISE_RATIO, LAYER_SEED = 0.6, 0


class Run(NamedTuple):
    """A training run: the costs of its start and after each step; constants that are not named are the article's."""

    size: Tuple[int, int]
    constants: Dict[str, Any]
    noise_ratio: float = 0.6
    seed: int = 0
    # Rounding grows from step to step (see README.md), and three steps are enough to show a fault of the optimiser.
    iterations: int = 3


RUNS: Dict[str, Run] = {
    "article": Run((61, 45), {}),
    "even size": Run((64, 48), {}, seed=1),
    "upright": Run((17, 33), {"learning_rate": 0.5}, seed=2),
    "1x1 feature maps": Run((5, 3), {"content_layer_index": 20}, seed=3),
    "alpha, beta and noise": Run((33, 17), {"alpha": 250.0, "beta": 0.01}, noise_ratio=0.9, seed=4),
    "content alone, from noise": Run((31, 23), {"beta": 0.0}, noise_ratio=1.0, seed=5),
    "style alone, from the content": Run((31, 23), {"alpha": 0.0}, noise_ratio=0.0),
    "pools": Run(
        (33, 17),
        {
            "content_layer_index": 11,
            "style_layer_indices": (21, 3, 16, 6),
            "style_layer_coefficients": (0.4, 0.01, 2.0, 0.1),
        },
    ),
    "every constant another": Run(
        (31, 23),
        {
            "content_layer_index": 2,
            "style_layer_indices": (18, 20, 19),
            "style_layer_coefficients": (1.0, 0.5, 0.25),
            "alpha": 0.01,
            "beta": 500.0,
            "learning_rate": 3.0,
        },
        noise_ratio=0.3,
        seed=6,
    ),
    "every layer a style layer": Run(
        (33, 17),
        {
            "content_layer_index": 21,
            "style_layer_indices": tuple(reversed(LAYER_INDICES)),
            "style_layer_coefficients": tuple(index / 100 for index in LAYER_INDICES),
        },
    ),
}


def size_name(size: Tuple[int, int]) -> str:
    """Return the key of a size in the goldens: 33x17."""
    return "{}x{}".format(*size)


def names() -> set:
    """Return the place of every case in the goldens."""
    return (
        {("functions", function, case) for function, found in FUNCTIONS.items() for case in found}
        | {("layers", size_name(size), str(index)) for size in LAYER_SIZES for index in LAYER_INDICES}
        | {("runs", name) for name in RUNS}
    )
