"""What a run's graph lets the training step reach, and what the session is asked to do in which order."""

import numpy as np
import pytest

from nst_graph.network import create_output_tensors
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings
from nst_graph.transfer import stylize
from nst_graph.vgg19 import LAYER_INDICES, LAYERS
from tests.training import Training


@pytest.fixture
def transfer(small_images, settings, vgg_weights):
    with Training(small_images, settings, vgg_weights) as transfer:
        yield transfer


def ancestors(op, through_control=False):
    """All operations that an operation computes from or, with control inputs too, that run before it."""
    found, todo = {}, [op]
    while todo:
        op = todo.pop()
        if op.name not in found:
            found[op.name] = op
            todo.extend(source.op for source in op.inputs)
            todo.extend(op.control_inputs if through_control else [])
    return list(found.values())


def test_every_output_is_its_layers_last_operation(vgg_weights):
    """Activations are those after the ReLU, as Gatys et al. take them, and a pool's are those of the average pool."""
    runtime = get_runtime()
    with runtime.session_scope():
        picture = runtime.tf.placeholder(runtime.tf.float32, (1, 27, 37, 3))
        _, outputs = create_output_tensors(picture, 13, list(LAYER_INDICES), vgg_weights)
        for index, output in zip(LAYER_INDICES, outputs):
            assert output.op.type == ("Relu" if LAYERS[index].is_convolution else "AvgPool")
            if LAYERS[index].is_convolution:
                assert LAYERS[index].name in output.op.name
                bias_add = output.op.inputs[0].op
                assert [bias_add.type, bias_add.inputs[0].op.type] == ["BiasAdd", "Conv2D"]


def test_the_path_goes_through_the_variables_of_the_loaded_network(transfer, settings):
    def weights(layers):
        return [
            f"{layer.block}/{layer.name}/{kind}"
            for layer in layers
            if layer.is_convolution
            for kind in ("kernel", "bias")
        ]

    variables = transfer.session.graph.get_collection("variables")
    assert [v.op.name for v in variables if v.name.startswith("block")] == weights(LAYERS)
    deepest = max(settings.style_layer_indices)
    on_path = {op.name for op in ancestors(gradient(transfer).op)}
    assert on_path & set(weights(LAYERS)) == set(weights(LAYERS[: deepest + 1]))


def adam(transfer):
    """The one operation that applies a gradient, and all that runs before the end of a step."""
    step = ancestors(transfer.session.graph.get_operation_by_name("train/Adam"), through_control=True)
    (apply_adam,) = [op for op in step if op.type in ("ApplyAdam", "ResourceApplyAdam")]
    return apply_adam, step


def gradient(transfer):
    return adam(transfer)[0].inputs[9]  # the last input, on TensorFlow 1 and 2


def test_the_gradient_is_with_respect_to_the_input_alone(transfer):
    apply_adam, step = adam(transfer)
    assert apply_adam.inputs[0].op.name == "input_var"
    types = {op.type for op in ancestors(gradient(transfer).op)}
    assert "Conv2DBackpropInput" in types and "Conv2DBackpropFilter" not in types
    written = {op.inputs[0].op.name for op in step if op.type.startswith("Assign") or "Apply" in op.type}
    assert written == {"input_var", "train/beta1_power", "train/beta2_power"}


def test_a_step_changes_the_input_and_adams_variables_and_no_other(transfer):
    variables = transfer.session.graph.get_collection("variables")
    before = transfer.session.run(variables)
    transfer.step()
    after = transfer.session.run(variables)
    changed = {v.name for v, old, new in zip(variables, before, after) if not np.array_equal(old, new)}
    assert changed == {
        "input_var:0",
        "input_var/Adam:0",
        "input_var/Adam_1:0",
        "train/beta1_power:0",
        "train/beta2_power:0",
    }


def test_the_three_images_are_in_the_input_in_the_articles_order(small_images, vgg_weights, monkeypatch):
    """Seen through the session: which image the input holds whenever activations are read, and at the end."""
    runtime = get_runtime()
    settings = Settings(content_layer_index=5, style_layer_indices=[1, 4], style_layer_coefficients=[0.5, 0.5])
    seen, run_session = [], runtime.tf.Session.run

    def held(session):
        (input_var,) = (v for v in session.graph.get_collection("variables") if v.name == "input_var:0")
        image = run_session(session, input_var)
        return [name for name, img in zip(("content", "style", "start"), small_images) if np.array_equal(image, img)]

    def spy(self, fetches, *args, **kwargs):
        layers = fetches if isinstance(fetches, list) else [fetches]
        if all(getattr(layer, "op", layer).type == "Relu" for layer in layers):
            seen.append((len(layers), held(self)))
        return run_session(self, fetches, *args, **kwargs)

    monkeypatch.setattr(runtime.tf.Session, "run", spy)
    with Training(small_images, settings, vgg_weights) as transfer:
        seen.append(held(transfer.session))
    assert seen == [(1, ["content"]), (2, ["style"]), ["start"]]


@pytest.mark.parametrize("callback", [None, lambda progress: None], ids=["alone", "watched"])
def test_stylize_runs_the_training_step_as_often_as_it_is_told(vgg_weights, monkeypatch, callback):
    runtime = get_runtime()
    ran, run_session = [], runtime.tf.Session.run

    def spy(self, fetches, *args, **kwargs):
        ran.extend(getattr(fetch, "name", None) for fetch in (fetches if isinstance(fetches, list) else [fetches]))
        return run_session(self, fetches, *args, **kwargs)

    monkeypatch.setattr(runtime.tf.Session, "run", spy)
    picture = np.zeros((5, 7, 3), np.uint8)
    stylize(picture, picture, iterations=3, size=(7, 5), weights=vgg_weights, callback=callback)
    assert ran.count("train/Adam") == 3
