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


# --- max pooling ---------------------------------------------------------------------------


def test_max_pooling_leaves_the_last_odd_row_and_column_out():
    x = np.array([[1.0, 2.0, 30.0], [5.0, 4.0, 6.0], [70.0, 8.0, 9.0]])
    assert numpy_nst.max_pool_2x2(x[None, :, :, None])[0, :, :, 0].tolist() == [[5.0]]
    back = numpy_nst.max_pool_2x2_backward(np.array([3.0])[None, None, None, :], x[None, :, :, None])
    assert back[0, :, :, 0].tolist() == [[0, 0, 0], [3, 0, 0], [0, 0, 0]]


def test_max_pooling_backward_takes_the_first_of_equal_pixels():
    x = np.array([[1.0, 7.0, 4.0, 4.0], [7.0, 7.0, 2.0, 4.0]])
    back = numpy_nst.max_pool_2x2_backward(np.array([[[[5.0], [6.0]]]]), x[None, :, :, None])
    assert back[0, :, :, 0].tolist() == [[0, 5, 6, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("size", [(4, 6), (5, 6), (4, 7), (5, 7), (1, 2), (1, 1)])
def test_max_pooling_against_plain_loops(rng, size):
    h, w = size
    x = rng.standard_normal((2, h, w, 3))
    want = np.zeros((2, h // 2, w // 2, 3))
    for n, i, j, k in np.ndindex(*want.shape):
        want[n, i, j, k] = max(x[n, 2 * i + di, 2 * j + dj, k] for di in range(2) for dj in range(2))
    got = numpy_nst.max_pool_2x2(x)
    assert got.shape == want.shape
    assert np.array_equal(got, want)


@pytest.mark.parametrize("size", [(4, 6), (5, 6), (4, 7), (5, 7)])
def test_max_pooling_backward(rng, size):
    # Pixels at least 1 apart, so that a step of 0.25 moves none past another.
    x = rng.permutation(3 * size[0] * size[1]).reshape((1, *size, 3)).astype(np.float64)
    grad = rng.standard_normal(numpy_nst.max_pool_2x2(x).shape)
    want = central_differences(lambda x: np.sum(grad * numpy_nst.max_pool_2x2(x)), x, step=0.25)
    assert deviation(numpy_nst.max_pool_2x2_backward(grad, x), want) < 5e-13  # measured 1.2e-13


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


@pytest.mark.parametrize(
    ("pooling", "size", "last"),
    [
        ("avg", (19, 13), (1, 1)),  # 19 x 13, 10 x 7, 5 x 4, 3 x 2, 2 x 1, 1 x 1
        ("max", (71, 37), (2, 1)),  # 71 x 37, 35 x 18, 17 x 9, 8 x 4, 4 x 2, 2 x 1
    ],
)
def test_forward_is_the_chain_written_out(rng, pooling, size, last):
    weights = narrow_vgg19(rng)
    img = rng.standard_normal((1, *size, 3))
    activations = numpy_nst.forward(img, weights, 21, pooling)
    assert len(activations) == 22
    assert np.array_equal(activations[0], img)

    running = img
    conv = 0
    for index, kind in enumerate(CHAIN, start=1):
        if kind == "P":
            running = numpy_nst.avg_pool_2x2(running) if pooling == "avg" else numpy_nst.max_pool_2x2(running)
        else:
            running = numpy_nst.relu(numpy_nst.conv3x3(running, weights[2 * conv], weights[2 * conv + 1]))
            conv += 1
            assert 0 < np.mean(running == 0) < 1  # the ReLU is there, and leaves something
        assert activations[index].dtype == np.float64
        assert np.array_equal(activations[index], running)
    assert conv == 16
    assert activations[21].shape == (1, *last, 19)


def test_average_pools_are_the_default(rng):
    weights = narrow_vgg19(rng)
    img = rng.standard_normal((1, 5, 7, 3))
    assert np.array_equal(numpy_nst.forward(img, weights, 4)[4], numpy_nst.forward(img, weights, 4, "avg")[4])


def test_another_word_for_the_pooling_is_refused(rng):
    weights = narrow_vgg19(rng)
    activations = numpy_nst.forward(np.ones((1, 5, 7, 3)), weights, 3)
    with pytest.raises(ValueError):
        numpy_nst.forward(activations[0], weights, 3, "maximum")
    with pytest.raises(ValueError):
        numpy_nst.backward(activations, weights, {3: activations[3]}, "maximum")


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


def assert_no_kink_within(step, img, weights, last=21, pooling="avg"):
    """A difference quotient that crosses a kink of a ReLU or of a max pool says nothing about the gradient."""
    want = numpy_nst.forward(img, weights, last, pooling)
    ones = [np.ones(numpy_nst.max_pool_2x2(activation).shape) for activation in want]

    def chosen(activations, index):
        return numpy_nst.max_pool_2x2_backward(ones[index], activations[index])

    for position in np.ndindex(*img.shape):
        for signed_step in (step, -step):
            moved = img.copy()
            moved[position] += signed_step
            got = numpy_nst.forward(moved, weights, last, pooling)
            for index, kind in enumerate(CHAIN[:last], start=1):
                if kind == "C":
                    assert np.array_equal(got[index] > 0, want[index] > 0)
                elif pooling == "max":
                    assert np.array_equal(chosen(got, index - 1), chosen(want, index - 1))


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


def test_masked_gram_matrix_against_plain_loops(rng):
    a, mask = rng.standard_normal((1, 3, 5, 4)), rng.uniform(0, 2, (3, 5))
    want = np.zeros((4, 4))
    for i, j, row, column in np.ndindex(3, 5, 4, 4):
        want[row, column] += mask[i, j] * a[0, i, j, row] * a[0, i, j, column]
    assert deviation(numpy_nst.gram(a, mask), want) < 1e-14  # measured 7.0e-17
    # A column, as the program has it, is the same mask.
    assert np.array_equal(numpy_nst.gram(a, mask.reshape(15, 1)), numpy_nst.gram(a, mask))


def test_masked_gram_matrix_of_half_an_image_is_that_of_the_half(rng):
    a, mask = rng.standard_normal((1, 3, 6, 4)), np.zeros((3, 6))
    mask[:, :3] = 1
    assert deviation(numpy_nst.gram(a, mask), numpy_nst.gram(a[:, :, :3])) < 1e-14  # measured 0


def test_masked_gram_backward_for_a_gradient_that_is_not_symmetric(rng):
    a, mask = rng.standard_normal((1, 3, 5, 4)), rng.uniform(0, 2, (3, 5))
    grad = rng.standard_normal((4, 4))
    # Quadratic in each entry: central differences are exact for any step.
    want = central_differences(lambda a: np.sum(grad * numpy_nst.gram(a, mask)), a, step=1.0)
    assert deviation(numpy_nst.gram_backward(grad, a, mask), want) < 2e-14  # measured 5.6e-16


def test_a_mask_has_one_entry_for_each_pixel():
    for mask in (np.ones((3, 4)), np.ones(1), np.ones((15, 2))):
        with pytest.raises(ValueError):
            numpy_nst.gram(np.ones((1, 3, 5, 4)), mask)


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


def layers_problem(rng):
    """Content and generated activations of two layers of different sizes, unequal weights."""
    shapes = (1, 3, 5, 4), (1, 2, 3, 6)
    return (
        [rng.standard_normal(shape) for shape in shapes],
        [rng.standard_normal(shape) for shape in shapes],
        [0.3, 2.0],
    )


def test_content_cost_of_several_layers(rng):
    a_c_layers, a_g_layers, weights = layers_problem(rng)
    # 4 * 3 * 5 * 4 = 240 and 4 * 2 * 3 * 6 = 144.
    squares = [np.sum((a_c - a_g) ** 2) for a_c, a_g in zip(a_c_layers, a_g_layers)]
    want = 0.3 * squares[0] / 240 + 2 * squares[1] / 144
    assert numpy_nst.content_layers_cost(a_c_layers, a_g_layers, weights) == pytest.approx(want, rel=1e-14)


def test_content_cost_of_one_layer_with_weight_1_is_the_articles(rng):
    (a_c, _), (a_g, _), _ = layers_problem(rng)
    assert numpy_nst.content_layers_cost([a_c], [a_g], [1.0]) == numpy_nst.content_cost(a_c, a_g)


def test_gradient_of_the_content_cost_of_several_layers(rng):
    a_c_layers, a_g_layers, weights = layers_problem(rng)
    got = numpy_nst.content_layers_cost_gradient(a_c_layers, a_g_layers, weights)
    assert len(got) == 2
    for layer in range(2):

        def cost(a_g, layer=layer):
            moved = list(a_g_layers)
            moved[layer] = a_g
            return numpy_nst.content_layers_cost(a_c_layers, moved, weights)

        # Quadratic in each entry: central differences are exact for any step.
        want = central_differences(cost, a_g_layers[layer], step=1.0)
        assert deviation(got[layer], want) < 1e-13  # measured 1.1e-14


def test_content_cost_wants_everything_once_per_layer(rng):
    a_c_layers, a_g_layers, weights = layers_problem(rng)
    for wrong in (
        (a_c_layers[:1], a_g_layers, weights),
        (a_c_layers, a_g_layers[:1], weights),
        (a_c_layers, a_g_layers, weights[:1]),
        (a_c_layers[::-1], a_g_layers, weights),
    ):
        with pytest.raises(ValueError):
            numpy_nst.content_layers_cost(*wrong)
        with pytest.raises(ValueError):
            numpy_nst.content_layers_cost_gradient(*wrong)


def test_total_variation_and_its_gradient_worked_out_by_hand():
    # 1 4 2   Down: 2, -4, 3: squares 4 + 16 + 9 = 29. Right: 3, -2 and -3, 5: 9 + 4 + 9 + 25 = 47.
    # 3 0 5   76 / (4 * 2 * 3 * 1).
    img = np.array([[1.0, 4.0, 2.0], [3.0, 0.0, 5.0]])[None, :, :, None]
    assert numpy_nst.total_variation_cost(img) == pytest.approx(76 / 24, rel=1e-15)
    # Twice the sum of the pixel's differences to its neighbours, over 24: for the first, (1-3) + (1-4) = -5.
    want = np.array([[-5, 9, -5], [5, -12, 8]]) / 12
    assert numpy_nst.total_variation_cost_gradient(img)[0, :, :, 0] == pytest.approx(want, rel=1e-15)


@pytest.mark.parametrize("shape", [(1, 3, 5, 3), (1, 1, 4, 2), (1, 4, 1, 2)])
def test_total_variation_against_plain_loops(rng, shape):
    img = rng.standard_normal(shape)
    _, h, w, c = shape
    want = 0
    for i, j, k in np.ndindex(h, w, c):
        if i + 1 < h:
            want += (img[0, i + 1, j, k] - img[0, i, j, k]) ** 2
        if j + 1 < w:
            want += (img[0, i, j + 1, k] - img[0, i, j, k]) ** 2
    assert numpy_nst.total_variation_cost(img) == pytest.approx(want / (4 * h * w * c), rel=1e-14)


@pytest.mark.parametrize("shape", [(1, 3, 5, 3), (1, 1, 4, 2), (1, 4, 1, 2)])
def test_total_variation_gradient(rng, shape):
    img = rng.standard_normal(shape)
    # Quadratic in each entry: central differences are exact for any step.
    want = central_differences(numpy_nst.total_variation_cost, img, step=1.0)
    assert deviation(numpy_nst.total_variation_cost_gradient(img), want) < 2e-14  # measured 1.1e-15


def test_an_image_of_one_colour_has_no_total_variation():
    for shape in ((1, 3, 5, 3), (1, 1, 1, 3)):
        img = np.full(shape, 7.0)
        assert numpy_nst.total_variation_cost(img) == 0
        assert not numpy_nst.total_variation_cost_gradient(img).any()


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


def masked_problem(rng):
    """Two layers and two styles: targets, generated activations, coefficients, masks, weights of the styles."""
    _, _, a_g_layers, coefficients = style_problem(rng)
    targets = [np.stack([numpy_nst.gram(rng.standard_normal(a_g.shape)) for _ in range(2)]) for a_g in a_g_layers]
    masks = [rng.uniform(0, 2, (2, a_g.shape[1] * a_g.shape[2], 1)) for a_g in a_g_layers]
    return targets, a_g_layers, coefficients, masks, [0.7, 0.2]


def test_masked_style_cost_is_put_together_from_the_styles(rng):
    targets, a_g_layers, coefficients, masks, style_weights = masked_problem(rng)
    want = 0
    for layer, divisor in enumerate((4 * 4**2 * 15**2, 4 * 6**2 * 6**2)):
        for style, weight in enumerate(style_weights):
            difference = targets[layer][style] - numpy_nst.gram(a_g_layers[layer], masks[layer][style])
            want += coefficients[layer] * weight * np.sum(difference**2) / divisor
    got = numpy_nst.style_cost(targets, a_g_layers, coefficients, masks, style_weights)
    assert got == pytest.approx(want, rel=1e-14)


def test_a_mask_of_ones_is_no_mask(rng):
    targets, _, a_g_layers, coefficients = style_problem(rng)
    stacked = [target[None] for target in targets]
    masks = [np.ones((1, a_g.shape[1] * a_g.shape[2])) for a_g in a_g_layers]
    masked, unmasked = (stacked, a_g_layers, coefficients, masks, [1.0]), (targets, a_g_layers, coefficients)
    assert numpy_nst.style_cost(*masked) == pytest.approx(numpy_nst.style_cost(*unmasked), rel=1e-14)
    for got, want in zip(numpy_nst.style_cost_gradient(*masked), numpy_nst.style_cost_gradient(*unmasked)):
        assert deviation(got, want) < 1e-14


def test_masked_style_cost_gradient(rng):
    targets, a_g_layers, coefficients, masks, style_weights = masked_problem(rng)
    got = numpy_nst.style_cost_gradient(targets, a_g_layers, coefficients, masks, style_weights)
    assert len(got) == 2
    for layer in range(2):

        def cost(a_g, layer=layer):
            moved = list(a_g_layers)
            moved[layer] = a_g
            return numpy_nst.style_cost(targets, moved, coefficients, masks, style_weights)

        want = central_differences(cost, a_g_layers[layer], step=1e-4)
        assert deviation(got[layer], want) < 1e-8  # measured 1.3e-9


def test_masked_style_cost_wants_one_mask_and_target_per_style_and_layer(rng):
    targets, a_g_layers, coefficients, masks, style_weights = masked_problem(rng)
    for wrong in (
        (targets, a_g_layers, coefficients, masks[:1], style_weights),
        (targets, a_g_layers, coefficients, [mask[:1] for mask in masks], style_weights),
        (targets, a_g_layers, coefficients, masks, style_weights[:1]),
        (targets, a_g_layers, coefficients, masks[::-1], style_weights),
        ([target[0] for target in targets], a_g_layers, coefficients, masks, style_weights),
    ):
        with pytest.raises(ValueError):
            numpy_nst.style_cost(*wrong)
        with pytest.raises(ValueError):
            numpy_nst.style_cost_gradient(*wrong)


def test_total_cost():
    assert numpy_nst.total_cost(3.0, 5.0, alpha=2, beta=7) == 41
    assert numpy_nst.total_cost(3.0, 5.0) == 10 * 3 + 40 * 5
    assert numpy_nst.total_cost(3.0, 5.0, alpha=2, beta=7, j_tv=11.0, tv_weight=0.5) == 46.5


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


# All options at once: several content layers, two masked styles, total variation.
OPTIONS = {
    "alpha": 3,
    "beta": 0.5,
    "content_layers": ((4, 0.3), (9, 2.0)),
    "style_layer_indices": (8, 3, 4, 1),
    "style_layer_coefficients": (0.5, 0.1, 0.3, 0.7),
    "style_weights": (0.7, 0.2),
    "tv_weight": 0.6,
}


def options_problem(rng, size, pooling):
    """An image, narrow weights, and further arguments of `costs_and_gradient`; masks are 0 in places."""
    weights = narrow_vgg19(rng)
    content, first, second, img = rng.standard_normal((4, 1, *size, 3))
    of_content, of_first, of_second = (
        numpy_nst.forward(each, weights, 9, pooling) for each in (content, first, second)
    )
    grams, masks = [], []
    for index in OPTIONS["style_layer_indices"]:
        grams.append(np.stack([numpy_nst.gram(of[index]) for of in (of_first, of_second)]))
        masks.append(np.maximum(rng.uniform(-1, 2, (2, *of_first[index].shape[1:3])), 0))
    contents = [of_content[index] for index, _ in OPTIONS["content_layers"]]
    return (
        img,
        weights,
        {"content_target": contents, "gram_targets": grams, "masks": masks, "pooling": pooling, **OPTIONS},
    )


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_gradient_of_the_total_cost_with_all_options(rng, pooling):
    # Of 9 x 7, the average pools make 5 x 4 and 3 x 2, the max pools 4 x 3 and 2 x 1.
    img, weights, arguments = options_problem(rng, (9, 7), pooling)

    def cost(img):
        return numpy_nst.costs_and_gradient(img, weights=weights, **arguments)[2]

    step = 1e-5
    assert_no_kink_within(step, img, weights, 9, pooling)
    want = central_differences(cost, img, step)
    got = numpy_nst.costs_and_gradient(img, weights=weights, **arguments)[3]
    assert deviation(got, want) < 5e-9  # measured 6.3e-10


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_costs_with_all_options_are_put_together_from_the_right_layers(rng, pooling):
    img, weights, arguments = options_problem(rng, (9, 7), pooling)
    of_img = numpy_nst.forward(img, weights, 9, pooling)
    contents, grams, masks = (arguments[name] for name in ("content_target", "gram_targets", "masks"))
    want_content = 0.3 * numpy_nst.content_cost(contents[0], of_img[4]) + 2 * numpy_nst.content_cost(
        contents[1], of_img[9]
    )
    want_style = 0
    for layer, (index, coefficient) in enumerate(((8, 0.5), (3, 0.1), (4, 0.3), (1, 0.7))):
        for style, weight in enumerate((0.7, 0.2)):
            squares = np.sum((grams[layer][style] - numpy_nst.gram(of_img[index], masks[layer][style])) ** 2)
            want_style += coefficient * weight * squares / (4 * of_img[index].size ** 2)
    j_content, j_style, j_total, _ = numpy_nst.costs_and_gradient(img, weights=weights, **arguments)
    assert j_content == pytest.approx(want_content, rel=1e-14)
    assert j_style == pytest.approx(want_style, rel=1e-14)
    want_total = 3 * want_content + 0.5 * want_style + 0.6 * numpy_nst.total_variation_cost(img)
    assert j_total == pytest.approx(want_total, rel=1e-14)


def torch_activations(torch, image, weights, pooling="avg"):
    """Return PyTorch's activations of all layers, in its order (1, c, h, w), of an image (1, h, w, 3)."""
    functional = torch.nn.functional
    running = image.permute(0, 3, 1, 2)
    found = [running]
    conv = 0
    for kind in CHAIN:
        if kind == "C":
            kernel = torch.from_numpy(weights[2 * conv]).permute(3, 2, 0, 1)
            bias = torch.from_numpy(weights[2 * conv + 1])
            running = torch.relu(functional.conv2d(running, kernel, bias, padding=1))
            conv += 1
        elif pooling == "avg":
            running = functional.avg_pool2d(running, 2, stride=2, ceil_mode=True, count_include_pad=False)
        else:
            running = functional.max_pool2d(running, 2, stride=2)
        found.append(running)
    return found


def torch_gram(torch, a, mask=None):
    """Return the Gram matrix of PyTorch's activations."""
    counts = torch.ones(a.shape[2:], dtype=a.dtype) if mask is None else torch.from_numpy(mask)
    return torch.einsum("ij,bkij,blij->kl", counts, a, a)


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("size", [(35, 51), (32, 48)])
def test_costs_and_gradient_with_all_options_against_autograd(rng, size, pooling):
    torch = pytest.importorskip(
        "torch", reason="PyTorch is not installed: the reference is then checked against finite differences alone"
    )
    img, weights, arguments = options_problem(rng, size, pooling)
    variable = torch.from_numpy(img).requires_grad_()
    of_img = torch_activations(torch, variable, weights, pooling)
    want_content = want_style = 0
    for target, (layer, weight) in zip(arguments["content_target"], OPTIONS["content_layers"]):
        difference = torch.from_numpy(target).permute(0, 3, 1, 2) - of_img[layer]
        want_content = want_content + weight * difference.pow(2).mean() / 4
    layers = zip(OPTIONS["style_layer_indices"], OPTIONS["style_layer_coefficients"])
    for k, (layer, coefficient) in enumerate(layers):
        for gram, mask, weight in zip(arguments["gram_targets"][k], arguments["masks"][k], OPTIONS["style_weights"]):
            squares = (torch.from_numpy(gram) - torch_gram(torch, of_img[layer], mask)).pow(2).sum()
            want_style = want_style + coefficient * weight * squares / (2 * of_img[layer].numel()) ** 2
    squares = variable.diff(dim=1).pow(2).sum() + variable.diff(dim=2).pow(2).sum()
    want_total = 3 * want_content + 0.5 * want_style + 0.6 * squares / (4 * variable.numel())
    want_total.backward()

    j_content, j_style, j_total, gradient = numpy_nst.costs_and_gradient(img, weights=weights, **arguments)
    for got, want in ((j_content, want_content), (j_style, want_style), (j_total, want_total)):
        assert got == pytest.approx(want.item(), rel=5e-13)  # measured 1.6e-15
    assert deviation(gradient, variable.grad.numpy()) < 5e-13  # measured 2.1e-15


@pytest.mark.parametrize("settings", PROBLEMS)
@pytest.mark.parametrize("size", [(35, 51), (32, 48)])
def test_costs_and_gradient_against_autograd(rng, size, settings):
    torch = pytest.importorskip(
        "torch", reason="PyTorch is not installed: the reference is then checked against finite differences alone"
    )
    weights = narrow_vgg19(rng)
    content, style, img = rng.standard_normal((3, 1, *size, 3))
    alpha, beta = settings.get("alpha", 10), settings.get("beta", 40)
    content_layer = settings.get("content_layer_index", 13)
    style_layers = settings.get("style_layer_indices", (1, 4, 7, 12, 17))
    coefficients = settings.get("style_layer_coefficients", (0.2, 0.2, 0.2, 0.2, 0.2))

    variable = torch.from_numpy(img).requires_grad_()
    of_content, of_style, of_img = [
        torch_activations(torch, image, weights)
        for image in (torch.from_numpy(content), torch.from_numpy(style), variable)
    ]
    want_content = (of_content[content_layer] - of_img[content_layer]).pow(2).mean() / 4
    want_style = 0
    for k, layer in enumerate(style_layers):
        _, n_c, n_h, n_w = of_img[layer].shape
        squares = (torch_gram(torch, of_style[layer]) - torch_gram(torch, of_img[layer])).pow(2).sum()
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
