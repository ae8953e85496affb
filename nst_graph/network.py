"""Keras's VGG-19, its layers called one after the other on the run's variable, max pooling made average pooling."""

from typing import Any, List, Sequence, Tuple, Union

from nst_graph.runtime import get_runtime
from nst_graph.weights import Weights, find_weights


def load_vgg19(weights: Union[str, Weights] = "auto") -> Any:
    """Build Keras's VGG-19 without its top in the default graph and put the weights into the Keras session.

    Parameters
    ----------
    weights : str or Weights
        See `nst_graph.weights.find_weights`.

    Returns
    -------
    keras.Model
        Its `layers` are the 22 of `nst_graph.vgg19.LAYERS`.

    Raises
    ------
    WeightsError
        If the weights are not to be had; the network is not built then.
    """
    arrays = find_weights(weights).arrays
    vgg_model = get_runtime().keras.applications.VGG19(weights=None, include_top=False)
    vgg_model.set_weights(arrays)
    return vgg_model


def create_output_tensors(
    input_variable: Any,
    content_layer_index: int,
    style_layer_indices: Sequence[int],
    weights: Union[str, Weights] = "auto",
) -> Tuple[Any, List[Any]]:
    """Extract VGG-19's layers and call them on a variable, with average pools in place of the max pools.

    Parameters
    ----------
    input_variable : tf.Variable
        float32 (1, h, w, 3), blue, green and red with the colour means taken off.
    content_layer_index : int
        Position in `nst_graph.vgg19.LAYERS`, 1 to 21.
    style_layer_indices : sequence of int
        Positions likewise.
    weights : str or Weights
        See `nst_graph.weights.find_weights`.

    Returns
    -------
    content : tf.Tensor
        float32 (1, n_h, n_w, n_c), the content layer's activations after its ReLU.
    styles : list of tf.Tensor
        The same of each style layer, in the order of `style_layer_indices`.

    Raises
    ------
    WeightsError
        If the weights are not to be had.

    Notes
    -----
    Source: the article, "Create graph". Average pooling instead of max pooling is Gatys et al. 2015, section 2.
    """
    runtime = get_runtime()
    layers = load_vgg19(weights).layers
    outputs = {}
    x = input_variable
    for index in range(1, len(layers)):
        if isinstance(layers[index], runtime.keras.layers.MaxPooling2D):
            # By position: TensorFlow 1 calls the first argument `value` and TensorFlow 2 `input`.
            x = runtime.tf.nn.avg_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
        else:
            x = layers[index](x)
        outputs[index] = x
    return outputs[content_layer_index], [outputs[index] for index in style_layer_indices]
