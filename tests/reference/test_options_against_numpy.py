"""Options of a run against the independent float64 version: masks, blends, layers, total variation, pooling, sizes.

Beside each tolerance stands the largest deviation that was measured on TensorFlow 2.21 and 1.15.5.
"""

import numpy as np
import pytest

from nst_graph import costs
from nst_graph.errors import PictureError, SettingError
from nst_graph.inputs import Style
from nst_graph.masks import layer_mask
from nst_graph.network import layer_outputs, load_vgg19
from nst_graph.objective import Objective
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings
from nst_graph.targets import Targets, position_weights
from nst_graph.transfer import Transfer
from nst_graph.vgg19 import LAYER_INDICES, LAYERS
from nst_graph.weights import Weights
from tests.reference import numpy_nst

#: Width and height, odd all the way: the average pools make 17x9, 9x5, 5x3 and 3x2 of it.
SIZE = (33, 17)
#: Odd twice, and large enough for five max pools: they make 33x17, 16x8, 8x4, 4x2 and 2x1 of it.
MAX_SIZE = (67, 35)
MEANS = np.array([103.939, 116.779, 123.68])


def random_pictures(number, size=SIZE, seed=3):
    """Return pictures, uint8 (h, w, 3)."""
    return np.random.RandomState(seed).randint(0, 256, (number, size[1], size[0], 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures():
    """Content, two styles and two images to look at."""
    return random_pictures(5)


@pytest.fixture(scope="module")
def arrays(vgg_weights):
    return [array.astype(np.float64) for array in vgg_weights.arrays]


def preprocessed(pictures):
    """Return pictures as the network sees them: float32 (1, h, w, 3)."""
    return [(picture[None] - MEANS).astype(np.float32) for picture in pictures]


def masks_of(size):
    """Return a mask with a hard edge, in the upper left, and one that gets whiter to the right."""
    width, height = size
    hard = np.zeros((height, width), np.uint8)
    hard[: height // 2, : width // 3] = 255
    return hard, np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))


def layer_size(index, size=SIZE, pooling="avg"):
    """Return width and height of a layer's activations."""
    pools = sum(name.endswith("pool") for name in numpy_nst.LAYER_NAMES[: index + 1])
    for _ in range(pools):
        size = tuple(side // 2 + (side % 2 if pooling == "avg" else 0) for side in size)
    return size


def averaging(length, wanted):
    """Return a matrix (wanted, length): how much each of `length` pixels counts in the mean of each wanted one."""
    edges = np.arange(wanted + 1) * length / wanted
    pixels = np.arange(length)
    shares = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.maximum(shares, 0) * wanted / length


def averaged(mask, size):
    """Return a mask at a smaller size: each value is the mean over the area that it stands for."""
    mask = mask / 255 if mask.dtype == np.uint8 else mask.astype(np.float64)
    return averaging(mask.shape[0], size[1]) @ mask @ averaging(mask.shape[1], size[0]).T


def expected(settings, arrays, content, styles, start):
    """Return what the float64 version finds for pictures of one size: content, style, total cost and gradient."""
    indices, coefficients = zip(*settings["style_layers"])
    contents, pooling = settings["content_layers"], settings.get("pooling", "avg")
    last = max(*indices, *(index for index, _ in contents))
    of_content, *of_styles = (
        numpy_nst.forward(picture[None] - MEANS, arrays, last, pooling)
        for picture in (content, *(style.picture for style in styles))
    )
    shares = np.array([style.weight for style in styles]) / sum(style.weight for style in styles)
    grams = [np.stack([numpy_nst.gram(of[index]) for of in of_styles]) for index in indices]
    size = content.shape[1::-1]
    options = {}
    if any(style.mask is not None for style in styles):
        options["style_weights"], options["masks"] = shares, []
        for index in indices:
            width, height = layer_size(index, size, pooling)
            masks = [
                np.ones((height, width)) if style.mask is None else averaged(style.mask, (width, height))
                for style in styles
            ]
            options["masks"].append([mask / mask.mean() for mask in masks])
    else:
        grams = [np.tensordot(shares, layer, 1) for layer in grams]
    return numpy_nst.costs_and_gradient(
        start[None] - MEANS,
        [of_content[index] for index, _ in contents],
        grams,
        arrays,
        alpha=settings["alpha"],
        beta=settings["beta"],
        content_layers=contents,
        style_layer_indices=indices,
        style_layer_coefficients=coefficients,
        tv_weight=settings.get("tv_weight", 0),
        pooling=pooling,
        **options,
    )


def evaluate(transfer, content, styles, start):
    """Return costs and gradient of a start picture in a run."""
    transfer.start(content, styles, start)
    return transfer.objective.evaluate_with(transfer.objective.gradient)


def deviation(found, wanted):
    """Return the largest difference, relative to the largest entry wanted."""
    assert found.shape == wanted.shape
    return np.abs(found - wanted).max() / np.abs(wanted).max()


ARTICLE_LAYERS = {
    "content_layers": ((13, 1.0),),
    "style_layers": ((1, 0.2), (4, 0.2), (7, 0.2), (12, 0.2), (17, 0.2)),
}
# Every term, and every layer in its term, has about the same share in the gradient: a fault of one of them shows.
TOTALS = {
    "several content layers": {
        "alpha": 10.0,
        "beta": 0.0,
        **ARTICLE_LAYERS,
        "content_layers": ((13, 6.0), (5, 0.5), (16, 25.0)),
    },
    "total variation alone": {"alpha": 0.0, "beta": 0.0, "tv_weight": 2.0, **ARTICLE_LAYERS},
    "all": {
        "alpha": 100.0,
        "beta": 0.01,
        "tv_weight": 10.0,
        "content_layers": ((13, 6.0), (5, 0.5), (16, 25.0)),
        "style_layers": ((17, 30.0), (1, 0.1), (6, 1.5), (9, 10.0)),
    },
    "all, max pools": {
        "alpha": 100.0,
        "beta": 0.01,
        "tv_weight": 30.0,
        "content_layers": ((13, 0.3), (5, 1.5), (16, 0.8)),
        "style_layers": ((17, 0.03), (1, 1.5), (6, 0.03), (9, 0.1)),
        "pooling": "max",
    },
}


@pytest.mark.parametrize("name", TOTALS)
def test_costs_and_gradient(vgg_weights, arrays, name):
    settings = TOTALS[name]
    size = MAX_SIZE if "pooling" in settings else SIZE
    content, first, second, third, start = random_pictures(5, size)
    styles = [Style(first)]
    if name.startswith("all"):
        hard, soft = masks_of(size)
        styles = [Style(first, 2, hard), Style(second, 1, soft), Style(third, 0.5)]
    with Transfer(Settings(size=size, **settings), vgg_weights) as transfer:
        found, gradient = evaluate(transfer, content, styles, start)
    j_content, j_style, j_total, wanted_gradient = expected(settings, arrays, content, styles, start)
    wanted = {"content": j_content, "style": j_style}
    if "tv_weight" in settings:
        wanted["total_variation"] = numpy_nst.total_variation_cost(start[None] - MEANS)
    wanted["total"] = j_total
    assert list(found.terms) == list(wanted)
    np.testing.assert_allclose(list(found.terms.values()), list(wanted.values()), rtol=1e-5)  # measured 3.8e-7
    assert deviation(gradient, wanted_gradient) < 1e-5  # measured 2.5e-6
    for term, layers in (("content", settings["content_layers"]), ("style", settings["style_layers"])):
        shares = {cost.layer: value for cost, value in found.items() if cost.term == term and cost.layer}
        if len(layers) > 1:
            assert list(shares) == [LAYERS[index].name for index, _ in layers]
            assert sum(shares.values()) == pytest.approx(found[term], rel=1e-6)
        else:
            assert not shares


def test_max_pools_where_the_layers_after_those_of_the_costs_have_nothing_left(vgg_weights):
    with Objective(SIZE, Settings(pooling="max"), vgg_weights) as objective:
        assert objective.positions(17) == 2


def test_of_equal_pixels_in_a_max_pool_the_first_one_gets_the_gradient():
    """The float64 version has it so; after a ReLU, windows with several zeros are common."""
    runtime = get_runtime()
    tf = runtime.tf
    pixels = np.random.RandomState(1).randint(0, 3, (1, 7, 9, 64)).astype(np.float32)
    with runtime.session_scope() as session:
        x = tf.constant(pixels)
        pooled = tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "VALID")
        weights = np.random.RandomState(2).randint(1, 9, (1, 3, 4, 64)).astype(np.float32)
        (found,) = session.run(tf.gradients(tf.reduce_sum(pooled * weights), [x]))
    np.testing.assert_array_equal(found, numpy_nst.max_pool_2x2_backward(weights, pixels))


def test_total_variation_against_differences():
    """Pixels are whole numbers, so that float32 is exact but for the last division."""
    runtime = get_runtime()
    tf = runtime.tf
    img = np.random.RandomState(0).randint(-100, 100, (1, 4, 5, 3)).astype(np.float32)
    with runtime.session_scope() as session:
        picture = tf.placeholder(tf.float32, img.shape)
        cost = costs.total_variation_cost(picture)
        (gradient,) = tf.gradients(cost, [picture])
        found, found_gradient = session.run([cost, gradient], feed_dict={picture: img})
        # Quadratic in each entry: central differences are exact for any step.
        differences = np.zeros(img.shape)
        for position in np.ndindex(*img.shape):
            step = np.zeros_like(img)
            step[position] = 64
            above, below = (session.run(cost, feed_dict={picture: moved}) for moved in (img + step, img - step))
            differences[position] = (float(above) - float(below)) / 128
    assert found == pytest.approx(numpy_nst.total_variation_cost(img), rel=1e-6)
    assert deviation(found_gradient, numpy_nst.total_variation_cost_gradient(img)) < 1e-6  # measured 1.2e-7
    assert deviation(found_gradient, differences) < 5e-6  # measured 4.4e-7


@pytest.fixture(scope="module")
def transfer(vgg_weights):
    """A run with the article's layers and the style cost alone; its graphs are built once."""
    with Transfer(Settings(size=SIZE, alpha=0), vgg_weights) as transfer:
        yield transfer


def reach(wanted, index):
    """Return the pixels, bool (h, w), that some positions of a layer, bool (n_h, n_w), depend on."""
    for layer in range(index, 0, -1):
        width, height = layer_size(layer - 1)
        if numpy_nst.LAYER_NAMES[layer].endswith("pool"):
            wanted = wanted.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
        else:
            padded = np.pad(wanted, 1, mode="constant")
            wanted = np.any([padded[i : i + height, j : j + width] for i in range(3) for j in range(3)], axis=0)
    return wanted


class TestMasks:
    def test_a_style_moves_the_pixels_that_its_mask_reaches_and_no_others(self, pictures, vgg_weights):
        indices = (1, 4, 7)
        settings = Settings(alpha=0, style_layers=tuple((index, 1.0) for index in indices))
        at_the_right = np.zeros(SIZE[::-1], np.float32)
        at_the_right[3:6, 28:] = 1
        masks = [masks_of(SIZE)[0] / np.float32(255), at_the_right]
        content_img, first_img, second_img, start_img = preprocessed(pictures[:4])
        with Objective(SIZE, settings, vgg_weights, masked_styles=2) as objective:
            with objective.building() as tf:
                shares = [objective.costs[f"style/{LAYERS[index].name}"] for index in indices]
                gradients = [tf.gradients(share, [objective.input_var])[0] for share in shares]
            targets = Targets(
                objective.content_target(content_img),
                tuple(np.stack(layer) for layer in zip(*map(objective.style_target, (first_img, second_img)))),
                tuple(position_weights([layer_mask(mask, layer_size(index)) for mask in masks]) for index in indices),
            )
            objective.set_image(start_img)
            for style, mask in enumerate(masks):
                objective.take(targets._replace(style_weights=np.eye(2, dtype=np.float32)[style]))
                _, (of_total, *of_layers) = objective.evaluate_with([objective.gradient, *gradients])
                fields = [reach(averaged(mask, layer_size(index)) > 0, index) for index in indices]
                for gradient, field in zip([of_total, *of_layers], [np.any(fields, axis=0), *fields]):
                    assert 0 < field.mean() < 0.7
                    # Exactly: no pixel outside moves at all, and none inside stays.
                    np.testing.assert_array_equal((gradient[0] != 0).any(axis=-1), field)

    def test_a_white_mask_is_no_mask(self, pictures, transfer):
        content, style, start = pictures[:3]
        white = np.full((5, 7), 255, np.uint8)
        found, found_gradient = evaluate(transfer, content, Style(style, mask=white), start)
        plain, gradient = evaluate(transfer, content, style, start)
        assert list(found) == list(plain)
        np.testing.assert_allclose(list(found.values()), list(plain.values()), rtol=1e-6)  # measured 0
        assert deviation(found_gradient, gradient) < 1e-6  # measured 0

    def test_a_mask_of_half_a_picture_asks_for_the_style_and_not_for_half_of_it(self, vgg_weights):
        """With kernels that are their own mirror images, the halves of a mirrored picture have mirrored activations."""
        mirrored = tuple((array + array[:, ::-1]) / 2 if array.ndim == 4 else array for array in vgg_weights.arrays)
        size = (32, 16)  # no position of a layer is in both halves
        content, style, start = random_pictures(3, size)
        start[:, 16:] = start[:, 15::-1]
        white, left, right = np.full((3, 16, 32), 255, np.uint8)
        left[:, 16:], right[:, :16] = 0, 0
        with Transfer(Settings(size=size, alpha=0), Weights(mirrored, "mirrored")) as transfer:
            whole, gradient = evaluate(transfer, content, Style(style, mask=white), start)
            for mask in (left, right):
                half, half_gradient = evaluate(transfer, content, Style(style, mask=mask), start)
                np.testing.assert_allclose(half.style, whole.style, rtol=2e-6)  # measured 2.2e-7
                # It is twice as large in its half.
                mean = (half_gradient + half_gradient[:, :, ::-1]) / 2
                assert deviation(mean, gradient) < 2e-6  # measured 2.0e-7
                assert deviation(half_gradient, gradient) > 0.5


class TestBlends:
    @pytest.fixture(scope="class")
    def found(self, pictures, transfer):
        """Costs and gradient of two images, for each single style and for blends."""
        content, first, second, *images = pictures
        blends = {
            "first": first,
            "second": [Style(second, 7)],
            "blend": [Style(first, 2), Style(second, 1)],
            "many times": [Style(first, 300), Style(second, 150)],
        }
        return {
            name: [evaluate(transfer, content, styles, image) for image in images] for name, styles in blends.items()
        }

    def test_it_costs_as_much_as_the_styles_each_by_its_weight_but_for_a_constant(self, found):
        constants = [
            blend.style - (2 * first.style + second.style) / 3
            for (blend, _), (first, _), (second, _) in zip(found["blend"], found["first"], found["second"])
        ]
        largest = max(cost.style for pairs in found.values() for cost, _ in pairs)
        assert abs(constants[0]) > 0.1 * largest
        assert abs(constants[0] - constants[1]) < 1e-6 * largest  # measured 4.6e-8

    def test_its_gradient_is_the_mean_of_theirs(self, found):
        for (_, blend), (_, first), (_, second) in zip(found["blend"], found["first"], found["second"]):
            assert deviation(blend, (2 * first + second) / 3) < 1e-6  # measured 2.6e-7
            assert deviation(first, second) > 0.5

    def test_weights_are_shares(self, found):
        for (blend, gradient), (many, many_gradient) in zip(found["blend"], found["many times"]):
            assert blend == many
            np.testing.assert_array_equal(gradient, many_gradient)

    def test_against_numpy(self, found, pictures, arrays):
        content, first, second, image = pictures[:4]
        settings = {"alpha": 0.0, "beta": 40.0, **ARTICLE_LAYERS}
        styles = [Style(first, 2), Style(second, 1)]
        _, wanted, _, wanted_gradient = expected(settings, arrays, content, styles, image)
        cost, gradient = found["blend"][0]
        assert cost.style == pytest.approx(wanted, rel=1e-5)  # measured 1.8e-7
        assert deviation(gradient, wanted_gradient) < 1e-5  # measured 2.6e-7


def test_max_pools_make_keras_own_network(vgg_weights):
    """Each layer, bit for bit, for an even and an odd size."""
    runtime = get_runtime()
    tf = runtime.tf
    with runtime.session_scope() as session:
        picture = tf.placeholder(tf.float32, (1, None, None, 3))
        model = load_vgg19(vgg_weights)
        ours = [layer_outputs(picture, model, pooling) for pooling in ("max", "avg")]
        theirs = runtime.keras.applications.VGG19(weights=None, include_top=False)
        theirs.set_weights(vgg_weights.arrays)
        for size in ((64, 32), MAX_SIZE):
            img = preprocessed(random_pictures(1, size))[0]
            of_max, of_avg = session.run(ours, feed_dict={picture: img})
            wanted = session.run([layer.output for layer in theirs.layers], feed_dict={theirs.input: img})
            for index in LAYER_INDICES:
                name = LAYERS[index].name
                np.testing.assert_array_equal(of_max[index], wanted[index], err_msg=name)
                assert np.array_equal(of_avg[index], wanted[index]) == (index < 3), name  # 3 is the first pool


def test_a_style_that_max_pools_leave_nothing_of_is_refused(vgg_weights):
    (content,), (style,) = random_pictures(1, (64, 48)), random_pictures(1, (64, 8))
    with Transfer(Settings(size=64, pooling="max"), vgg_weights) as transfer:
        with pytest.raises((PictureError, SettingError)):
            transfer.start(content, style)


class TestStylesOfAnotherSize:
    LAYERS = ((1, 1.0), (4, 1.0), (7, 1.0), (17, 1.0))

    @pytest.fixture(scope="class")
    def objective(self, vgg_weights):
        with Objective((48, 32), Settings(size=48, style_layers=self.LAYERS), vgg_weights) as objective:
            yield objective

    def check_against_numpy(self, objective, arrays, pooling):
        """Pools do not divide the sizes evenly: of 65x37 they make 33x19 or 32x18, and 17x10 or 16x9."""
        (style,) = preprocessed(random_pictures(1, (65, 37)))
        activations = numpy_nst.forward(style, arrays, 7, pooling)
        for index, found in zip((1, 4, 7), objective.style_target(style)):
            width, height = layer_size(index, (48, 32), pooling)
            _, n_h, n_w, _ = activations[index].shape
            wanted = numpy_nst.gram(activations[index]) * (width * height) / (n_h * n_w)
            assert deviation(found, wanted) < 1e-6  # measured 1.2e-7

    def test_gram_matrices_with_average_pools(self, objective, arrays):
        self.check_against_numpy(objective, arrays, "avg")

    def test_gram_matrices_with_max_pools(self, vgg_weights, arrays):
        settings = Settings(size=48, style_layers=self.LAYERS, pooling="max")
        with Objective((48, 32), settings, vgg_weights) as objective:
            self.check_against_numpy(objective, arrays, "max")

    def test_a_style_tiled_twice_each_way_is_the_same_style(self, objective, arrays):
        # Pools divide the tiles evenly, so their activations repeat except near borders.
        (single,) = preprocessed(random_pictures(1, (48, 32)))
        tiled = np.tile(single, (1, 2, 2, 1))
        of_single, of_tiled = objective.style_target(single), objective.style_target(tiled)
        activations = numpy_nst.forward(tiled, arrays, 7)
        # Measured 0.03, 0.09 and 0.17: the deeper a layer, the farther it sees over a border.
        for index, once, found, near in zip((1, 4, 7), of_single, of_tiled, (0.05, 0.15, 0.25)):
            unscaled = numpy_nst.gram(activations[index])
            assert deviation(found, unscaled / 4) < 1e-6  # measured 5.7e-8
            assert deviation(found, once) < near
            assert deviation(unscaled, once) > 2.5  # four times as large would be 3

    def test_the_path_for_other_sizes_computes_what_the_main_path_does(self, objective, vgg_weights):
        """An upright picture has as many positions in every layer as a wide one, so nothing is scaled."""
        (upright,) = preprocessed(random_pictures(1, (32, 48)))
        others = objective.style_target(upright)
        with Objective((32, 48), Settings(style_layers=self.LAYERS), vgg_weights) as main:
            for found, wanted in zip(others, main.style_target(upright)):
                assert deviation(found, wanted) < 1e-6  # measured 0
