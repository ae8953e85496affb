"""Checks of the NumPy yardstick: by hand, by plain loops, by finite differences, by autograd.

Finite differences are central, taken for every single input value, and compared with the
hand-derived gradient by the largest deviation relative to the largest entry of the gradient.
Beside each tolerance stands the largest deviation that was measured (NumPy 2.4.6 and 1.18.5,
PyTorch 2.13.0, all with OpenBLAS or MKL on x86-64).
"""

import math

import numpy as np
import pytest

from tests.reference import numpy_nst

# VGG-19's build with few channels, a different number for each convolution so that a mix-up of
# layers cannot pass.
WIDTHS = (4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19)

# The layers of the article, written out once more rather than taken from the module under test.
CHAIN = "CCPCCPCCCCPCCCCPCCCCP"


def narrow_vgg19(rng):
    """Random weights of He's scale, which keeps activations of one size through all layers."""
    weights = []
    c_in = 3
    for c_out in WIDTHS:
        weights.append(rng.standard_normal((3, 3, c_in, c_out)) * math.sqrt(2 / (9 * c_in)))
        weights.append(0.1 * rng.standard_normal(c_out))
        c_in = c_out
    return weights


def central_differences(function, x, step):
    """Gradient of a scalar function at `x`, one entry at a time."""
    gradient = np.zeros_like(x)
    for position in np.ndindex(*x.shape):
        above, below = x.copy(), x.copy()
        above[position] += step
        below[position] -= step
        gradient[position] = (function(above) - function(below)) / (2 * step)
    return gradient


def deviation(got, want):
    """Largest difference, relative to the largest entry wanted."""
    assert got.shape == want.shape
    assert got.dtype == np.float64
    scale = np.max(np.abs(want))
    assert scale > 0
    return np.max(np.abs(got - want)) / scale


@pytest.fixture
def rng():
    # RandomState's stream is frozen, so every NumPy checks the same problems.
    return np.random.RandomState(20150826)


# --- convolution ---------------------------------------------------------------------------


def test_convolution_of_a_single_bright_pixel_is_the_kernel_turned_round():
    x = np.zeros((1, 3, 3, 1))
    x[0, 1, 1, 0] = 1
    kernel = np.arange(1.0, 10.0).reshape(3, 3, 1, 1)
    # Output pixel (0, 0) sees the bright one at its lower right, kernel position (2, 2): 9.
    want = [[9, 8, 7], [6, 5, 4], [3, 2, 1]]
    assert numpy_nst.conv3x3(x, kernel, [0.5])[0, :, :, 0].tolist() == (np.array(want) + 0.5).tolist()


@pytest.mark.parametrize("size", [(5, 7), (4, 6), (1, 3), (1, 1)])
def test_convolution_against_plain_loops(rng, size):
    h, w = size
    c_in, c_out = 3, 4
    x = rng.standard_normal((1, h, w, c_in))
    kernel = rng.standard_normal((3, 3, c_in, c_out))
    bias = rng.standard_normal(c_out)
    want = np.zeros((1, h, w, c_out))
    for i in range(h):
        for j in range(w):
            for k in range(c_out):
                value = bias[k]
                for di in range(3):
                    for dj in range(3):
                        row, column = i + di - 1, j + dj - 1
                        if 0 <= row < h and 0 <= column < w:
                            for channel in range(c_in):
                                value += x[0, row, column, channel] * kernel[di, dj, channel, k]
                want[0, i, j, k] = value
    assert deviation(numpy_nst.conv3x3(x, kernel, bias), want) < 1e-14  # measured 5.3e-16


@pytest.mark.parametrize("size", [(5, 7), (4, 3), (1, 1)])
def test_convolution_backward(rng, size):
    x = rng.standard_normal((1, *size, 3))
    kernel = rng.standard_normal((3, 3, 3, 4))
    bias = rng.standard_normal(4)
    grad = rng.standard_normal((1, *size, 4))

    def scalar(x):
        return np.sum(grad * numpy_nst.conv3x3(x, kernel, bias))

    # The map is linear: differences are exact for any step, and a large one rounds least.
    want = central_differences(scalar, x, step=1.0)
    assert deviation(numpy_nst.conv3x3_backward(grad, kernel), want) < 2e-14  # measured 1.4e-15


@pytest.mark.parametrize(
    ("kernel_shape", "bias_shape"), [((5, 5, 3, 4), (4,)), ((3, 3, 3, 4), (1,)), ((3, 3, 3, 4), (3,))]
)
def test_convolution_refuses_what_does_not_fit(kernel_shape, bias_shape):
    with pytest.raises(ValueError):
        numpy_nst.conv3x3(np.ones((1, 4, 4, 3)), np.ones(kernel_shape), np.ones(bias_shape))


# --- ReLU ----------------------------------------------------------------------------------


def test_relu_and_its_gradient_at_hand_written_values():
    x = np.array([-2.0, -0.0, 0.0, 0.5, 3.0])
    assert numpy_nst.relu(x).tolist() == [0, 0, 0, 0.5, 3]
    grad = np.array([1.0, 2.0, 3.0, -4.0, 5.0])
    want = [0, 0, 0, -4, 5]
    assert numpy_nst.relu_backward(grad, x).tolist() == want
    assert numpy_nst.relu_backward(grad, numpy_nst.relu(x)).tolist() == want


def test_relu_backward(rng):
    x = rng.standard_normal((1, 5, 7, 3))
    x += np.sign(x)  # every value at least 1 from the kink: a step of 0.5 stays clear of it
    grad = rng.standard_normal(x.shape)
    want = central_differences(lambda x: np.sum(grad * numpy_nst.relu(x)), x, step=0.5)
    assert deviation(numpy_nst.relu_backward(grad, x), want) < 2e-14  # measured 1.1e-15


# --- average pooling -----------------------------------------------------------------------


def test_pooling_averages_the_last_row_and_column_over_real_pixels_only():
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    # (1+2+4+5)/4 = 3, (3+6)/2 = 4.5; (7+8)/2 = 7.5, 9/1 = 9.
    want = [[3.0, 4.5], [7.5, 9.0]]
    assert numpy_nst.avg_pool_2x2(x[None, :, :, None])[0, :, :, 0].tolist() == want


def test_pooling_backward_at_hand_written_values():
    grad = np.array([[4.0, 6.0], [10.0, 3.0]])
    # Shares of 4/4 in the full window, 6/2 on the right, 10/2 at the bottom, 3/1 in the corner.
    want = [[1.0, 1.0, 3.0], [1.0, 1.0, 3.0], [5.0, 5.0, 3.0]]
    got = numpy_nst.avg_pool_2x2_backward(grad[None, :, :, None], (1, 3, 3, 1))
    assert got[0, :, :, 0].tolist() == want


@pytest.mark.parametrize("size", [(4, 6), (5, 6), (4, 7), (5, 7), (1, 2), (1, 1)])
def test_pooling_keeps_a_constant_image_constant(size):
    h, w = size
    pooled = numpy_nst.avg_pool_2x2(np.full((1, h, w, 2), 7.0))
    assert pooled.shape == (1, math.ceil(h / 2), math.ceil(w / 2), 2)
    assert np.all(pooled == 7.0)


@pytest.mark.parametrize("size", [(4, 6), (5, 6), (4, 7), (5, 7), (1, 1)])
def test_pooling_backward(rng, size):
    x = rng.standard_normal((1, *size, 3))
    grad = rng.standard_normal(numpy_nst.avg_pool_2x2(x).shape)
    want = central_differences(lambda x: np.sum(grad * numpy_nst.avg_pool_2x2(x)), x, step=1.0)
    got = numpy_nst.avg_pool_2x2_backward(grad, x.shape)
    assert deviation(got, want) < 2e-14  # measured 3.6e-16


# --- the chain of layers -------------------------------------------------------------------


def test_layer_indices_are_those_of_the_article():
    names = numpy_nst.LAYER_NAMES
    assert len(names) == 22
    assert [names[index] for index in (3, 6, 11, 16, 21)] == [
        "block1_pool",
        "block2_pool",
        "block3_pool",
        "block4_pool",
        "block5_pool",
    ]
    assert names[numpy_nst.CONTENT_LAYER_INDEX] == "block4_conv2"
    assert [names[index] for index in numpy_nst.STYLE_LAYER_INDICES] == [
        "block1_conv1",
        "block2_conv1",
        "block3_conv1",
        "block4_conv1",
        "block5_conv1",
    ]


def test_the_articles_constants():
    assert numpy_nst.ALPHA == 10
    assert numpy_nst.BETA == 40
    assert numpy_nst.CONTENT_LAYER_INDEX == 13
    assert list(numpy_nst.STYLE_LAYER_INDICES) == [1, 4, 7, 12, 17]
    assert list(numpy_nst.STYLE_LAYER_COEFFICIENTS) == [0.2] * 5
    assert numpy_nst.LEARNING_RATE == 2


def test_forward_is_the_chain_written_out(rng):
    weights = narrow_vgg19(rng)
    img = rng.standard_normal((1, 19, 13, 3))
    activations = numpy_nst.forward(img, weights, 21)
    assert len(activations) == 22
    assert np.array_equal(activations[0], img)

    running = img
    conv = 0
    for index, kind in enumerate(CHAIN, start=1):
        if kind == "P":
            running = numpy_nst.avg_pool_2x2(running)
        else:
            running = numpy_nst.relu(numpy_nst.conv3x3(running, weights[2 * conv], weights[2 * conv + 1]))
            conv += 1
            assert 0 < np.mean(running == 0) < 1  # the ReLU is there, and leaves something
        assert activations[index].dtype == np.float64
        assert np.array_equal(activations[index], running)
    assert conv == 16
    assert activations[21].shape == (1, 1, 1, 19)  # 19 x 13, 10 x 7, 5 x 4, 3 x 2, 2 x 1, 1 x 1


def test_forward_stops_where_it_is_told(rng):
    weights = narrow_vgg19(rng)
    img = rng.standard_normal((1, 5, 7, 3))
    whole = numpy_nst.forward(img, weights, 21)
    for upto in (1, 3, 13):
        part = numpy_nst.forward(img, weights, upto)
        assert len(part) == upto + 1
        assert np.array_equal(part[upto], whole[upto])


def test_forward_computes_in_float64_whatever_comes_in(rng):
    weights = [array.astype(np.float32) for array in narrow_vgg19(rng)]
    img = rng.standard_normal((1, 5, 7, 3)).astype(np.float32)
    got = numpy_nst.forward(img, weights, 7)
    want = numpy_nst.forward(img.astype(np.float64), [array.astype(np.float64) for array in weights], 7)
    assert all(a.dtype == np.float64 for a in got)
    assert np.array_equal(got[7], want[7])


def test_forward_refuses_wrong_weights_and_layers(rng):
    weights = narrow_vgg19(rng)
    img = np.ones((1, 5, 7, 3))
    with pytest.raises(ValueError):
        numpy_nst.forward(img, weights[:-1], 1)
    for upto in (-1, 0, 22):
        with pytest.raises(ValueError):
            numpy_nst.forward(img, weights, upto)


def assert_no_kink_within(step, img, weights):
    """A difference quotient that crosses a ReLU's kink says nothing about the gradient."""
    convs = [index for index, kind in enumerate(CHAIN, start=1) if kind == "C"]
    want = numpy_nst.forward(img, weights, 21)
    for position in np.ndindex(*img.shape):
        for signed_step in (step, -step):
            moved = img.copy()
            moved[position] += signed_step
            got = numpy_nst.forward(moved, weights, 21)
            for index in convs:
                assert np.array_equal(got[index] > 0, want[index] > 0)


def test_backward_with_gradients_at_several_layers(rng):
    weights = narrow_vgg19(rng)
    img = rng.standard_normal((1, 11, 7, 3))
    activations = numpy_nst.forward(img, weights, 21)
    gradients = {index: rng.standard_normal(activations[index].shape) for index in (2, 3, 9, 21)}

    def scalar(img):
        moved = numpy_nst.forward(img, weights, 21)
        return sum(np.sum(gradients[index] * moved[index]) for index in gradients)

    step = 1e-5
    assert_no_kink_within(step, img, weights)
    want = central_differences(scalar, img, step)
    got = numpy_nst.backward(activations, weights, gradients)
    assert deviation(got, want) < 5e-9  # measured 1.2e-10


# --- Gram matrix and costs -----------------------------------------------------------------


def plain_gram(a):
    _, n_h, n_w, n_c = a.shape
    return [
        [sum(a[0, i, j, row] * a[0, i, j, column] for i in range(n_h) for j in range(n_w)) for column in range(n_c)]
        for row in range(n_c)
    ]


def test_gram_matrix_against_plain_loops(rng):
    a = rng.standard_normal((1, 3, 5, 4))
    assert deviation(numpy_nst.gram(a), np.array(plain_gram(a))) < 1e-14  # measured 2.0e-16


def test_gram_backward_for_a_gradient_that_is_not_symmetric(rng):
    a = rng.standard_normal((1, 3, 5, 4))
    grad = rng.standard_normal((4, 4))
    # Quadratic in each entry: central differences are exact for any step.
    want = central_differences(lambda a: np.sum(grad * numpy_nst.gram(a)), a, step=1.0)
    assert deviation(numpy_nst.gram_backward(grad, a), want) < 2e-14  # measured 5.3e-16


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 15, 4), (15, 4)])
def test_gram_matrix_is_of_one_image(shape):
    with pytest.raises(ValueError):
        numpy_nst.gram(np.ones(shape))


def test_content_cost_against_plain_loops(rng):
    a_c = rng.standard_normal((1, 3, 5, 4))
    a_g = rng.standard_normal((1, 3, 5, 4))
    want = sum((a_c[0, i, j, k] - a_g[0, i, j, k]) ** 2 for i in range(3) for j in range(5) for k in range(4)) / (
        4 * 3 * 5 * 4
    )
    got = numpy_nst.content_cost(a_c, a_g)
    assert got == pytest.approx(want, rel=1e-14)  # measured 4.5e-16 over a few seeds


def test_content_cost_gradient(rng):
    a_c = rng.standard_normal((1, 3, 5, 4))
    a_g = rng.standard_normal((1, 3, 5, 4))
    # Quadratic in each entry: central differences are exact for any step.
    want = central_differences(lambda a_g: numpy_nst.content_cost(a_c, a_g), a_g, step=1.0)
    assert deviation(numpy_nst.content_cost_gradient(a_c, a_g), want) < 2e-14  # measured 2.2e-15


def test_content_cost_does_not_broadcast():
    with pytest.raises(ValueError):
        numpy_nst.content_cost(np.ones((1, 1, 1, 4)), np.ones((1, 3, 5, 4)))


def style_problem(rng):
    """Two layers of different sizes, the style's activations for both, unequal coefficients."""
    a_s_layers = [rng.standard_normal((1, 3, 5, 4)), rng.standard_normal((1, 2, 3, 6))]
    a_g_layers = [rng.standard_normal((1, 3, 5, 4)), rng.standard_normal((1, 2, 3, 6))]
    return [numpy_nst.gram(a_s) for a_s in a_s_layers], a_s_layers, a_g_layers, [0.3, 0.9]


def test_style_cost_against_plain_loops(rng):
    gram_targets, a_s_layers, a_g_layers, coefficients = style_problem(rng)
    want = 0
    for layer in range(2):
        _, n_h, n_w, n_c = a_g_layers[layer].shape
        g_s, g_g = plain_gram(a_s_layers[layer]), plain_gram(a_g_layers[layer])
        squares = sum((g_s[row][column] - g_g[row][column]) ** 2 for row in range(n_c) for column in range(n_c))
        want += coefficients[layer] * squares / (4 * n_c**2 * (n_h * n_w) ** 2)
    got = numpy_nst.style_cost(gram_targets, a_g_layers, coefficients)
    assert got == pytest.approx(want, rel=1e-14)  # measured 4.5e-16 over a few seeds


def test_style_cost_gradient(rng):
    gram_targets, _, a_g_layers, coefficients = style_problem(rng)
    got = numpy_nst.style_cost_gradient(gram_targets, a_g_layers, coefficients)
    assert len(got) == 2
    for layer in range(2):

        def cost(a_g, layer=layer):
            moved = list(a_g_layers)
            moved[layer] = a_g
            return numpy_nst.style_cost(gram_targets, moved, coefficients)

        want = central_differences(cost, a_g_layers[layer], step=1e-4)
        assert deviation(got[layer], want) < 1e-8  # measured 8.5e-10


def test_style_cost_wants_everything_once_per_layer(rng):
    gram_targets, _, a_g_layers, coefficients = style_problem(rng)
    for wrong in (
        (gram_targets[:1], a_g_layers, coefficients),
        (gram_targets, a_g_layers[:1], coefficients),
        (gram_targets, a_g_layers, coefficients[:1]),
        (gram_targets[::-1], a_g_layers, coefficients),
        # This one NumPy would broadcast.
        ([gram_targets[0], gram_targets[1][:1]], a_g_layers, coefficients),
    ):
        with pytest.raises(ValueError):
            numpy_nst.style_cost(*wrong)
        with pytest.raises(ValueError):
            numpy_nst.style_cost_gradient(*wrong)


def test_total_cost():
    assert numpy_nst.total_cost(3.0, 5.0, alpha=2, beta=7) == 41
    assert numpy_nst.total_cost(3.0, 5.0) == 10 * 3 + 40 * 5


# --- the cost of an image, and its gradient ------------------------------------------------


def test_an_image_costs_nothing_against_itself(rng):
    weights = narrow_vgg19(rng)
    img = rng.standard_normal((1, 11, 7, 3))
    content_target, gram_targets = numpy_nst.targets(img, img, weights)
    j_content, j_style, j_total, gradient = numpy_nst.costs_and_gradient(img, content_target, gram_targets, weights)
    assert (j_content, j_style, j_total) == (0, 0, 0)
    assert gradient.shape == img.shape
    assert not gradient.any()


def test_costs_of_an_image_are_put_together_from_the_right_layers(rng):
    weights = narrow_vgg19(rng)
    content, style, img = rng.standard_normal((3, 1, 11, 7, 3))
    content_target, gram_targets = numpy_nst.targets(content, style, weights)
    of_content, of_style, of_img = [numpy_nst.forward(each, weights, 21) for each in (content, style, img)]
    assert np.array_equal(content_target, of_content[13])

    want_content = numpy_nst.content_cost(of_content[13], of_img[13])
    want_style = 0.2 * sum(
        numpy_nst.style_cost([numpy_nst.gram(of_style[index])], [of_img[index]], [1]) for index in (1, 4, 7, 12, 17)
    )
    j_content, j_style, j_total, _ = numpy_nst.costs_and_gradient(img, content_target, gram_targets, weights)
    assert j_content == want_content
    assert j_style == pytest.approx(want_style, rel=1e-14)
    assert j_total == pytest.approx(10 * want_content + 40 * want_style, rel=1e-14)


# The article's layers; the content layer among the style layers, which are out of order; a
# layer named twice and pooled layers, the content deepest; beta 0 and alpha 0.
PROBLEMS = [
    {},
    {
        "alpha": 3,
        "beta": 0.5,
        "content_layer_index": 4,
        "style_layer_indices": (8, 4, 1),
        "style_layer_coefficients": (0.5, 0.3, 0.7),
    },
    {
        "alpha": 100,
        "beta": 2,
        "content_layer_index": 21,
        "style_layer_indices": (3, 2, 16, 2),
        "style_layer_coefficients": (0.1, 0.9, 0.4, 0.2),
    },
    {"beta": 0},
    {"alpha": 0},
]


@pytest.mark.parametrize("settings", PROBLEMS)
def test_gradient_of_the_total_cost(rng, settings):
    weights = narrow_vgg19(rng)
    # The pools see 11 x 7, 6 x 4, 3 x 2, 2 x 1 and 1 x 1: odd, in one way or both, but once.
    content, style, img = rng.standard_normal((3, 1, 11, 7, 3))
    layers = {key: settings[key] for key in ("content_layer_index", "style_layer_indices") if key in settings}
    content_target, gram_targets = numpy_nst.targets(content, style, weights, **layers)

    def cost(img):
        return numpy_nst.costs_and_gradient(img, content_target, gram_targets, weights, **settings)[2]

    step = 1e-5
    assert_no_kink_within(step, img, weights)
    want = central_differences(cost, img, step)
    got = numpy_nst.costs_and_gradient(img, content_target, gram_targets, weights, **settings)[3]
    assert deviation(got, want) < 5e-9  # measured 5.8e-10


@pytest.mark.parametrize("settings", PROBLEMS)
@pytest.mark.parametrize("size", [(35, 51), (32, 48)])
def test_costs_and_gradient_against_autograd(rng, size, settings):
    torch = pytest.importorskip(
        "torch", reason="PyTorch is not installed: the reference is then checked against finite differences alone"
    )
    functional = torch.nn.functional
    weights = narrow_vgg19(rng)
    content, style, img = rng.standard_normal((3, 1, *size, 3))
    alpha, beta = settings.get("alpha", 10), settings.get("beta", 40)
    content_layer = settings.get("content_layer_index", 13)
    style_layers = settings.get("style_layer_indices", (1, 4, 7, 12, 17))
    coefficients = settings.get("style_layer_coefficients", (0.2, 0.2, 0.2, 0.2, 0.2))

    def activations(image):
        """In PyTorch's order (1, c, h, w)."""
        running = image.permute(0, 3, 1, 2)
        found = [running]
        conv = 0
        for kind in CHAIN:
            if kind == "P":
                running = functional.avg_pool2d(running, 2, stride=2, ceil_mode=True, count_include_pad=False)
            else:
                kernel = torch.from_numpy(weights[2 * conv]).permute(3, 2, 0, 1)
                bias = torch.from_numpy(weights[2 * conv + 1])
                running = torch.relu(functional.conv2d(running, kernel, bias, padding=1))
                conv += 1
            found.append(running)
        return found

    def gram(a):
        return torch.einsum("bkij,blij->kl", a, a)

    variable = torch.from_numpy(img).requires_grad_()
    of_content, of_style, of_img = [
        activations(image) for image in (torch.from_numpy(content), torch.from_numpy(style), variable)
    ]
    want_content = (of_content[content_layer] - of_img[content_layer]).pow(2).mean() / 4
    want_style = 0
    for k, layer in enumerate(style_layers):
        _, n_c, n_h, n_w = of_img[layer].shape
        squares = (gram(of_style[layer]) - gram(of_img[layer])).pow(2).sum()
        want_style = want_style + coefficients[k] * squares / (2 * n_c * n_h * n_w) ** 2
    want_total = alpha * want_content + beta * want_style
    want_total.backward()

    layers = {"content_layer_index": content_layer, "style_layer_indices": style_layers}
    content_target, gram_targets = numpy_nst.targets(content, style, weights, **layers)
    j_content, j_style, j_total, gradient = numpy_nst.costs_and_gradient(
        img, content_target, gram_targets, weights, **settings
    )
    for got, want in ((j_content, want_content), (j_style, want_style), (j_total, want_total)):
        assert got == pytest.approx(want.item(), rel=5e-13)  # measured 3.0e-14
    assert deviation(gradient, variable.grad.numpy()) < 5e-13  # measured 3.8e-14


# --- Adam ----------------------------------------------------------------------------------


def test_two_steps_of_adam_worked_out_by_hand():
    settings = {"learning_rate": 3, "beta1": 0.5, "beta2": 0.75, "epsilon": 0.5}
    # Step 1, g = 2: m = 0.5 * 2 = 1, v = 0.25 * 4 = 1, step size 3 sqrt(0.25) / 0.5 = 3,
    # and 3 * 1 / (sqrt(1) + 0.5) = 2 is subtracted from 10. (With epsilon added to the
    # corrected sqrt(v_hat) = 2 it would be 3 * 2 / 2.5 = 2.4, inside the root 2.449.)
    x, m, v = numpy_nst.adam_step([10.0], [2.0], 0, 0, 1, **settings)
    assert m.tolist() == [1]
    assert v.tolist() == [1]
    assert x.tolist() == [8]
    # Step 2, g = 2.75: m = 0.5 + 1.375 = 1.875, v = 0.75 + 0.25 * 7.5625 = 2.640625 = 1.625^2,
    # step size 3 sqrt(1 - 0.5625) / (1 - 0.25) = 4 sqrt(0.4375) = sqrt(7),
    # and sqrt(7) * 1.875 / 2.125 = 15 sqrt(7) / 17 is subtracted.
    x, m, v = numpy_nst.adam_step(x, [2.75], m, v, 2, **settings)
    assert m.tolist() == [1.875]
    assert v.tolist() == [2.640625]
    assert x[0] == pytest.approx(8 - 15 * math.sqrt(7) / 17, rel=1e-15)


def test_adam_with_its_default_parameters():
    # Step 1, g = 0.5: m = 0.1 * 0.5 = 0.05, v = 0.001 * 0.25 = 0.00025, step size
    # 0.1 sqrt(0.001) / 0.1 = 0.0316228, and the step is 0.0316228 * 0.05 / (0.0158114 + 1e-8):
    # the learning rate, against the gradient's sign, less 6 parts in ten million for epsilon.
    x, m, v = numpy_nst.adam_step([1.0, 1.0], [0.5, -0.5], 0, 0, 1, 0.1)
    assert m == pytest.approx([0.05, -0.05], rel=1e-14)
    assert v == pytest.approx([0.00025, 0.00025], rel=1e-12)
    assert x == pytest.approx([1 - 0.0999999367544868, 1 + 0.0999999367544868], rel=1e-14)
    # A gradient so small that sqrt(v) = sqrt(0.001) g equals epsilon = 1e-8 halves that step.
    x, _, _ = numpy_nst.adam_step([1.0], [1e-8 / math.sqrt(0.001)], 0, 0, 1, 0.1)
    assert x == pytest.approx([0.95], rel=1e-12)


def test_adam_leaves_its_arguments_alone(rng):
    arguments = np.abs(rng.standard_normal((4, 5)))
    before = arguments.copy()
    x, g, m, v = arguments  # views
    numpy_nst.adam_step(x, g, m, v, 3, 2)
    assert np.array_equal(arguments, before)


# --- the run -------------------------------------------------------------------------------


def test_run_yields_the_start_and_then_every_step(rng):
    weights = narrow_vgg19(rng)
    content, style, start = rng.standard_normal((3, 1, 11, 7, 3))
    start_before = start.copy()
    rows = list(numpy_nst.run(content, style, start, weights, 4))
    assert [row[0] for row in rows] == [-1, 0, 1, 2, 3]
    assert np.array_equal(start, start_before)
    assert np.array_equal(rows[0][4], start)
    assert not np.shares_memory(rows[0][4], start)

    # Every row's costs are those of its image; the images are Adam's, written out here.
    content_target, gram_targets = numpy_nst.targets(content, style, weights)
    want, m, v = start, 0, 0
    for t, (_, j_content, j_style, j_total, img) in enumerate(rows, start=1):
        assert deviation(img, want) < 1e-14  # measured 8.9e-16
        *costs, gradient = numpy_nst.costs_and_gradient(img, content_target, gram_targets, weights)
        assert [j_content, j_style, j_total] == costs
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        step_size = 2 * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        want = want - step_size * m / (np.sqrt(v) + 1e-8)


def test_run_without_steps_yields_the_start_alone(rng):
    content, style, start = rng.standard_normal((3, 1, 5, 7, 3))
    rows = list(numpy_nst.run(content, style, start, narrow_vgg19(rng), 0))
    assert [row[0] for row in rows] == [-1]


def test_run_passes_its_settings_on(rng):
    weights = narrow_vgg19(rng)
    content, style, start = rng.standard_normal((3, 1, 11, 7, 3))
    layers = {"content_layer_index": 5, "style_layer_indices": (2, 8)}
    settings = dict(alpha=3, beta=7, style_layer_coefficients=(0.4, 0.9), **layers)
    first, second = numpy_nst.run(content, style, start, weights, 1, learning_rate=0.01, **settings)

    content_target, gram_targets = numpy_nst.targets(content, style, weights, **layers)
    *costs, gradient = numpy_nst.costs_and_gradient(start, content_target, gram_targets, weights, **settings)
    assert list(first[1:4]) == costs
    want, _, _ = numpy_nst.adam_step(start, gradient, 0, 0, 1, 0.01)
    assert np.array_equal(second[4], want)


def test_run_refuses_images_of_different_sizes(rng):
    weights = narrow_vgg19(rng)
    small, large = np.ones((1, 5, 7, 3)), np.ones((1, 6, 7, 3))
    for images in ((large, small, small), (small, large, small), (small, small, large)):
        with pytest.raises(ValueError):
            next(numpy_nst.run(*images, weights=weights, iterations=1))
