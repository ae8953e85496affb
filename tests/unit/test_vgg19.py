from nst_graph.runtimes import get_runtime
from nst_graph.vgg19 import CONVOLUTIONS, LAYER_INDICES, LAYERS


def test_the_table_is_the_network_that_keras_builds():
    runtime = get_runtime()
    with runtime.session_scope():
        layers = runtime.keras.applications.VGG19(weights=None, include_top=False).layers
        assert len(layers) == len(LAYERS) == 22
        for ours, theirs in zip(LAYERS[1:], layers[1:]):
            assert ours.name == theirs.name
            assert [tuple(w.shape.as_list()) for w in theirs.weights] == list(ours.weight_shapes)
            assert (int(theirs.input.shape[-1]), int(theirs.output.shape[-1])) == (ours.in_channels, ours.channels)
            pool = isinstance(theirs, runtime.keras.layers.MaxPooling2D)
            assert pool is not ours.is_convolution


def test_the_articles_layers():
    assert LAYERS[13].name == "block4_conv2"
    assert [LAYERS[i].name for i in (1, 4, 7, 12, 17)] == [f"block{block}_conv1" for block in range(1, 6)]
    assert (LAYER_INDICES[0], LAYER_INDICES[-1]) == (1, 21)
    assert len(CONVOLUTIONS) == 16
