"""Keras's VGG-19: its layers are called one after the other on the run's variable, with average pools for max pools."""

from typing import Any, Callable, Dict, List, Sequence, Tuple

from nst_graph.runtimes import get_runtime
from nst_graph.vgg19 import LAYER_INDICES, LAYERS
from nst_graph.weights import Weights

_BLOCKS = {layer.name: layer.block for layer in LAYERS}


def _variable_in_its_block(next_creator: Callable[..., Any], **options: Any) -> Any:
    """Create a variable of a Keras layer under the name that the layer has when it is called on the run's variable.

    It begins with what is fed, which is the pretrained weights. Keras's random numbers would take 0.4 s of the start.
    """
    tf = get_runtime().tf
    options["initial_value"] = lambda: tf.placeholder(options["dtype"], options["shape"], name="weights")
    layer = tf.get_default_graph().get_name_scope().rpartition("/")[2]
    with tf.name_scope(f"{_BLOCKS[layer]}/{layer}/"):  # the slash at the end: from the top, whatever scope this is
        return next_creator(**options)


def load_vgg19(weights: Weights) -> Any:
    """Build Keras's VGG-19 without its top in the default graph and put the weights into the default session.

    Parameters
    ----------
    weights : Weights
        From `nst_graph.weights.find_weights`.

    Returns
    -------
    keras.Model
        Its `layers` are the 22 of `nst_graph.vgg19.LAYERS`.

    Notes
    -----
    Keras builds a whole network with max pools, but a run needs only its layers and their variables. That network is
    named `keras/...`. The variables are named after the place where their layer is used,
    `block1/block1_conv1/kernel` for example, so that a drawing of the graph has each block in one place.
    """
    runtime = get_runtime()
    tf = runtime.tf
    with tf.name_scope("keras"), tf.variable_creator_scope(_variable_in_its_block):
        vgg_model = runtime.keras.applications.VGG19(weights=None, include_top=False)
    put_weights(vgg_model, weights, tf.get_default_session())
    return vgg_model


def put_weights(vgg_model: Any, weights: Weights, session: Any) -> None:
    """Put weights into the network's variables in a session.

    Parameters
    ----------
    vgg_model : keras.Model
        From `load_vgg19`.
    weights : Weights
        From `nst_graph.weights.find_weights`.
    session : tf.Session
        Any session of the network's graph. Each has values of its own.
    """
    variables = vgg_model.weights
    feed = {variable.initial_value: array for variable, array in zip(variables, weights.arrays)}
    session.run([variable.initializer for variable in variables], feed_dict=feed)


def create_output_tensors(
    input_variable: Any,
    content_layer_index: int,
    style_layer_indices: Sequence[int],
    weights: Weights,
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
    weights : Weights
        From `nst_graph.weights.find_weights`.

    Returns
    -------
    content : tf.Tensor
        float32 (1, n_h, n_w, n_c), the content layer's activations after its ReLU.
    styles : list of tf.Tensor
        The same of each style layer, in the order of `style_layer_indices`. Operations are named by block and layer:
        `block1/block1_conv1/Relu`, `block1/block1_pool/AvgPool`.

    Notes
    -----
    Source: the article, "Create graph". Average pooling instead of max pooling is Gatys et al. 2015, section 2.

    Examples
    --------
    >>> import nst_graph
    >>> means = nst_graph.Settings().color_means
    >>> content_img = nst_graph.load_img("input/cat.jpg", (48, 36), means)
    >>> runtime, weights = nst_graph.get_runtime(), nst_graph.find_weights()
    >>> with runtime.session_scope() as session:
    ...     image = runtime.tf.Variable(content_img, name="input_var")
    ...     content, styles = nst_graph.create_output_tensors(image, 13, [1, 4], weights)
    ...     session.run(image.initializer)  # of this one alone: the network's have values
    ...     activations = session.run(content)
    >>> activations.shape
    (1, 5, 6, 512)
    >>> [style.op.name for style in styles]
    ['block1/block1_conv1/Relu', 'block2/block2_conv1/Relu']
    """
    outputs = layer_outputs(input_variable, load_vgg19(weights))
    return outputs[content_layer_index], [outputs[index] for index in style_layer_indices]


def layer_outputs(
    picture: Any, vgg_model: Any, pooling: str = "avg", layers: Sequence[int] = LAYER_INDICES, scope: str = ""
) -> Dict[int, Any]:
    """Call VGG-19's layers one after the other on a picture.

    Parameters
    ----------
    picture : tf.Variable or tf.Tensor
        float32 (1, h, w, 3), blue, green and red with the colour means taken off. Height and width may be unknown.
    vgg_model : keras.Model
        From `load_vgg19`.
    pooling : str
        `avg`: average pools in place of the max pools, as in the article; a last odd row or column has pools of its
        own. `max`: Keras's own max pools, which leave it out; layers that nothing is left for are missing.
    layers : sequence of int
        Indices of the layers to call, by default all. The first one is called on `picture`.
    scope : str
        What the operations' names begin with: "", or a name scope that ends with a slash.

    Returns
    -------
    dict
        For each of these indices, the layer's activations, float32 (1, n_h, n_w, n_c).
    """
    runtime = get_runtime()
    tf = runtime.tf
    outputs = {}
    x = picture
    for index in layers:
        layer = vgg_model.layers[index]
        with tf.name_scope(f"{scope}{_BLOCKS[layer.name]}/"):
            is_pool = isinstance(layer, runtime.keras.layers.MaxPooling2D)
            if is_pool and pooling == "max" and 1 in x.shape.as_list()[1:3]:
                break
            if is_pool and pooling == "avg":
                with tf.name_scope(layer.name):
                    # By position: TensorFlow 1 calls the first argument `value` and TensorFlow 2 `input`.
                    x = tf.nn.avg_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
            else:
                x = layer(x)
        outputs[index] = x
    return outputs
