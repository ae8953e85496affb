import numpy as np
import pytest

from nst_graph.network import create_output_tensors, layer_outputs, load_vgg19
from nst_graph.runtimes import get_runtime
from nst_graph.vgg19 import LAYER_INDICES, LAYERS


@pytest.fixture
def scope():
    with get_runtime().session_scope() as session:
        yield session


def variable(height, width):
    tf = get_runtime().tf
    return tf.Variable(np.zeros((1, height, width, 3), np.float32), name="input_var")


def ancestors(tensor):
    """All operations that a tensor is computed from."""
    found, todo = {}, [tensor.op]
    while todo:
        op = todo.pop()
        if op.name not in found:
            found[op.name] = op
            todo.extend(source.op for source in op.inputs)
    return list(found.values())


@pytest.mark.parametrize(("height", "width"), [(300, 400), (37, 27), (1, 1)])
def test_every_layer_has_the_static_shape_of_its_place(scope, vgg_weights, height, width):
    _, outputs = create_output_tensors(variable(height, width), 13, list(LAYER_INDICES), vgg_weights)
    for index, output in zip(LAYER_INDICES, outputs):
        if not LAYERS[index].is_convolution:  # SAME: an odd row or column is kept
            height, width = -(-height // 2), -(-width // 2)
        assert output.shape.as_list() == [1, height, width, LAYERS[index].channels]


def test_average_pools_stand_where_the_network_has_max_pools(scope, vgg_weights):
    _, (deepest,) = create_output_tensors(variable(32, 48), 13, [21], vgg_weights)
    path = ancestors(deepest)
    pools = [op for op in path if "Pool" in op.type]
    assert [op.type for op in pools] == ["AvgPool"] * 5
    for op in pools:
        assert list(op.get_attr("ksize")) == list(op.get_attr("strides")) == [1, 2, 2, 1]
        assert op.get_attr("padding") in (b"SAME", "SAME")
    assert sorted(op.type for op in path if op.type in ("Conv2D", "Relu")) == ["Conv2D"] * 16 + ["Relu"] * 16
    # Keras's own copy of the network has the max pools, beside the path.
    assert sum(op.type == "MaxPool" for op in scope.graph.get_operations()) == 5


@pytest.mark.parametrize(("height", "width"), [(64, 96), (37, 43)])
def test_max_pools_leave_an_odd_row_and_column_out(scope, vgg_weights, height, width):
    outputs = layer_outputs(variable(height, width), load_vgg19(vgg_weights), "max")
    assert list(outputs) == list(LAYER_INDICES)
    for index, output in outputs.items():
        if not LAYERS[index].is_convolution:
            height, width = height // 2, width // 2
        assert output.shape.as_list() == [1, height, width, LAYERS[index].channels]
    pools = [op for op in ancestors(outputs[21]) if "Pool" in op.type]
    assert [op.type for op in pools] == ["MaxPool"] * 5
    for op in pools:
        assert list(op.get_attr("ksize")) == list(op.get_attr("strides")) == [1, 2, 2, 1]
        assert op.get_attr("padding") in (b"VALID", "VALID")


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_operations_are_named_after_block_and_layer(scope, vgg_weights, pooling):
    outputs = layer_outputs(variable(32, 48), load_vgg19(vgg_weights), pooling)
    for index, output in outputs.items():
        assert output.op.name.startswith(f"{LAYERS[index].block}/{LAYERS[index].name}/"), output.op.name


def test_two_pictures_go_through_the_same_weights(scope, vgg_weights):
    tf = get_runtime().tf
    model = load_vgg19(vgg_weights)
    number = len(tf.global_variables())
    picture = variable(16, 16)
    first, second = layer_outputs(picture, model), layer_outputs(tf.placeholder(tf.float32, (1, None, None, 3)), model)
    assert len(tf.global_variables()) == number + 1  # the picture's own
    assert first[4].shape.as_list() == [1, 8, 8, 128]
    assert second[4].shape.as_list() == [1, None, None, 128]
    kernels = [
        {op.name for op in ancestors(outputs[4]) if "kernel" in op.name and op.type.startswith("VarHandle")}
        for outputs in (first, second)
    ]
    assert len(kernels[0]) == 3 and kernels[0] == kernels[1]


def test_content_and_styles_are_the_layers_asked_for_in_the_order_asked_for(scope, vgg_weights):
    content, styles = create_output_tensors(variable(32, 48), 2, [17, 1, 3], vgg_weights)
    assert content.shape.as_list() == [1, 32, 48, 64]
    assert [style.shape.as_list() for style in styles] == [[1, 2, 3, 512], [1, 32, 48, 64], [1, 16, 24, 64]]
    assert content.op.type == styles[0].op.type == "Relu" and styles[2].op.type == "AvgPool"
    assert "block1_conv2" in content.op.name and "block5_conv1" in styles[0].op.name


def test_the_weights_in_the_session_are_the_ones_given(scope, vgg_weights):
    model = load_vgg19(vgg_weights)
    for found, given in zip(scope.run(model.weights), vgg_weights.arrays):
        np.testing.assert_array_equal(found, given)
