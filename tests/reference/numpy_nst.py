"""Neural style transfer in NumPy and float64: a yardstick for the TensorFlow program.

The whole method is here a second time, with every derivative worked out by hand: VGG-19 with
average or max pooling, the content cost and the style cost, masks, total variation, their
gradient with respect to the image, and Adam. It shares no code with the program that it
measures, and it is written to be checked against the formulas rather than to be fast.

Images and activations are arrays of shape (1, h, w, c), kernels (3, 3, c_in, c_out). Arrays of
another dtype are converted to float64 on entry, and everything returned is float64.

References
----------
- L. A. Gatys, A. S. Ecker, M. Bethge, "A Neural Algorithm of Artistic Style", 2015,
  arXiv:1508.06576.
- K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image
  Recognition", 2014, arXiv:1409.1556.
- D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", 2014, arXiv:1412.6980.
- A. Mahendran, A. Vedaldi, "Understanding Deep Image Representations by Inverting Them", 2015,
  arXiv:1412.0035.
- L. A. Gatys, A. S. Ecker, M. Bethge, A. Hertzmann, E. Shechtman, "Controlling Perceptual
  Factors in Neural Style Transfer", 2017, arXiv:1611.07865.
"""

import numpy as np

# A layer's index is its position here, as in Keras's VGG19(include_top=False).layers.
LAYER_NAMES = (
    "input",
    "block1_conv1",
    "block1_conv2",
    "block1_pool",
    "block2_conv1",
    "block2_conv2",
    "block2_pool",
    "block3_conv1",
    "block3_conv2",
    "block3_conv3",
    "block3_conv4",
    "block3_pool",
    "block4_conv1",
    "block4_conv2",
    "block4_conv3",
    "block4_conv4",
    "block4_pool",
    "block5_conv1",
    "block5_conv2",
    "block5_conv3",
    "block5_conv4",
    "block5_pool",
)
_CONV_INDICES = tuple(i for i, name in enumerate(LAYER_NAMES) if "conv" in name)

# The article's constants.
ALPHA = 10
BETA = 40
CONTENT_LAYER_INDEX = 13
STYLE_LAYER_INDICES = (1, 4, 7, 12, 17)
STYLE_LAYER_COEFFICIENTS = (0.2, 0.2, 0.2, 0.2, 0.2)
LEARNING_RATE = 2


def _float64(array):
    return np.asarray(array, dtype=np.float64)


def conv3x3(x, kernel, bias):
    """Convolve with a 3x3 kernel: stride 1, zero padding of one pixel all round (SAME).

    As everywhere in this field it is a cross-correlation, the kernel is not flipped:
    ``y[i, j] = bias + sum over di, dj in 0..2 of x[i + di - 1, j + dj - 1] @ kernel[di, dj]``.

    Parameters
    ----------
    x : ndarray, shape (n, h, w, c_in)
    kernel : ndarray, shape (3, 3, c_in, c_out)
    bias : ndarray, shape (c_out,)

    Returns
    -------
    ndarray of float64, shape (n, h, w, c_out)

    Raises
    ------
    ValueError
        If `kernel` is not 3x3, or `bias` does not have one entry per output channel.

    Notes
    -----
    Source: the convolutional layers of Simonyan & Zisserman 2014, section 2.1.
    """
    x, kernel, bias = _float64(x), _float64(kernel), _float64(bias)
    c_in, c_out = kernel.shape[2:]
    if kernel.shape[:2] != (3, 3) or bias.shape != (c_out,):
        raise ValueError(f"want a kernel (3, 3, c_in, c_out) and a bias (c_out,), got {kernel.shape} and {bias.shape}")
    n, h, w, _ = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="constant")
    y = np.zeros((n * h * w, c_out))
    for di in range(3):
        for dj in range(3):
            # One matrix product per kernel position: all pixels at once, so BLAS does the work.
            y += padded[:, di : di + h, dj : dj + w, :].reshape(-1, c_in) @ kernel[di, dj]
    y += bias
    return y.reshape(n, h, w, c_out)


def conv3x3_backward(grad, kernel):
    """Carry a gradient back through `conv3x3` to its input.

    `conv3x3` reads every input pixel at nine places, one per kernel position. The transposed
    map puts each output pixel's gradient back where the value came from, through the transposed
    matrix, and adds up; what falls on the zero padding is dropped.

    Parameters
    ----------
    grad : ndarray, shape (n, h, w, c_out)
        Gradient of a scalar with respect to the convolution's output.
    kernel : ndarray, shape (3, 3, c_in, c_out)

    Returns
    -------
    ndarray of float64, shape (n, h, w, c_in)
    """
    grad, kernel = _float64(grad), _float64(kernel)
    n, h, w, c_out = grad.shape
    c_in = kernel.shape[2]
    rows = grad.reshape(-1, c_out)
    padded = np.zeros((n, h + 2, w + 2, c_in))
    for di in range(3):
        for dj in range(3):
            padded[:, di : di + h, dj : dj + w, :] += (rows @ kernel[di, dj].T).reshape(n, h, w, c_in)
    return padded[:, 1:-1, 1:-1, :]


def relu(x):
    """Set what is negative to zero, element by element.

    Parameters
    ----------
    x : ndarray, any shape

    Returns
    -------
    ndarray of float64, shape of `x`
    """
    return np.maximum(_float64(x), 0.0)


def relu_backward(grad, x):
    """Carry a gradient back through `relu`.

    At exactly zero, where `relu` has no derivative, the gradient is taken as 0, which is
    TensorFlow's choice.

    Parameters
    ----------
    grad : ndarray
        Gradient of a scalar with respect to the output of `relu`.
    x : ndarray, shape of `grad`
        The input of `relu`; its output will do as well, being positive at the same places.

    Returns
    -------
    ndarray of float64, shape of `grad`
    """
    return _float64(grad) * (_float64(x) > 0)


def _pool_counts(h, w):
    """Numbers of real pixels in the 2x2 windows over h x w, shape (1, ceil(h/2), ceil(w/2), 1)."""
    rows = np.full((h + 1) // 2, 2.0)
    columns = np.full((w + 1) // 2, 2.0)
    if h % 2:
        rows[-1] = 1.0
    if w % 2:
        columns[-1] = 1.0
    return np.outer(rows, columns)[None, :, :, None]


def avg_pool_2x2(x):
    """Average over 2x2 windows with stride 2, with TensorFlow's SAME rule at the edges.

    An odd height or width leaves windows at the bottom or on the right that reach past the
    image. They are averaged over the pixels that they do contain: the padding is not counted.

    Parameters
    ----------
    x : ndarray, shape (n, h, w, c)

    Returns
    -------
    ndarray of float64, shape (n, ceil(h / 2), ceil(w / 2), c)

    Notes
    -----
    Average pooling in the place of VGG-19's max pooling: Gatys et al. 2015, section "Methods".
    """
    x = _float64(x)
    n, h, w, c = x.shape
    padded = np.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)), mode="constant")
    sums = padded.reshape(n, (h + 1) // 2, 2, (w + 1) // 2, 2, c).sum(axis=(2, 4))
    return sums / _pool_counts(h, w)


def avg_pool_2x2_backward(grad, shape):
    """Carry a gradient back through `avg_pool_2x2`.

    Every pixel of a window gets the same share of the window's gradient.

    Parameters
    ----------
    grad : ndarray, shape (n, ceil(h / 2), ceil(w / 2), c)
        Gradient of a scalar with respect to the pooled output.
    shape : tuple of int
        (n, h, w, c), the shape of the pooling's input. `grad` alone does not tell an odd height
        or width from the even one above it.

    Returns
    -------
    ndarray of float64, shape (n, h, w, c)
    """
    h, w = shape[1:3]
    shares = _float64(grad) / _pool_counts(h, w)
    return shares.repeat(2, axis=1).repeat(2, axis=2)[:, :h, :w, :]


def _windows(x):
    """Cut (n, h, w, c) into 2x2 windows: (n, h // 2, w // 2, 4, c), pixels row by row."""
    n, h, w, c = x.shape
    rows, columns = h // 2, w // 2
    whole = x[:, : 2 * rows, : 2 * columns, :].reshape(n, rows, 2, columns, 2, c)
    return whole.transpose(0, 1, 3, 2, 4, 5).reshape(n, rows, columns, 4, c)


def max_pool_2x2(x):
    """Take the largest of each 2x2 window with stride 2, with Keras's default rule, VALID.

    The last row of an odd height and the last column of an odd width are in no window.

    Parameters
    ----------
    x : ndarray, shape (n, h, w, c)

    Returns
    -------
    ndarray of float64, shape (n, h // 2, w // 2, c)

    Notes
    -----
    Source: the max-pooling layers of Simonyan & Zisserman 2014, section 2.1.
    """
    return _windows(_float64(x)).max(axis=3)


def max_pool_2x2_backward(grad, x):
    """Carry a gradient back through `max_pool_2x2`.

    A window's gradient goes to its largest pixel. Of several equally large ones it goes to the
    first, row by row, which is TensorFlow's choice.

    Parameters
    ----------
    grad : ndarray, shape (n, h // 2, w // 2, c)
        Gradient of a scalar with respect to the pooled output.
    x : ndarray, shape (n, h, w, c)
        The pooling's input.

    Returns
    -------
    ndarray of float64, shape (n, h, w, c)
    """
    grad, x = _float64(grad), _float64(x)
    first = _windows(x).argmax(axis=3)  # argmax returns the first one
    back = np.zeros_like(x)
    h, w = 2 * grad.shape[1], 2 * grad.shape[2]
    for pixel in range(4):
        back[:, pixel // 2 : h : 2, pixel % 2 : w : 2, :] = np.where(first == pixel, grad, 0)
    return back


def _check_pooling(pooling):
    if pooling not in ("avg", "max"):
        raise ValueError(f"pooling is avg or max, not {pooling!r}")


def _kernel_and_bias(weights, index):
    position = _CONV_INDICES.index(index)
    return weights[2 * position], weights[2 * position + 1]


def forward(img, weights, upto, pooling="avg"):
    """Send an image through VGG-19.

    Parameters
    ----------
    img : ndarray, shape (1, h, w, 3)
        Blue, green, red, minus the ImageNet means.
    weights : list of 32 ndarrays
        Kernel (3, 3, c_in, c_out) and bias (c_out,) of each of the 16 convolutions, in order.
        The widths are read from the arrays, so a narrower network of the same build will do.
    upto : int
        Index of the last layer wanted, 1 to 21 (see `LAYER_NAMES`).
    pooling : str
        ``avg``, the article's, or ``max``, the network's own.

    Returns
    -------
    list of ndarrays of float64
        ``activations[i]`` belongs to layer `i`; ``activations[0]`` is the image itself. A
        convolution's activation is taken after its ReLU.

    Raises
    ------
    ValueError
        If `weights` is not of length 32, `upto` is not the index of a layer from 1 on, or
        `pooling` is another word.

    Notes
    -----
    Source: configuration E of Simonyan & Zisserman 2014, table 1; layer indices and pooling as
    in the article.
    """
    if len(weights) != 2 * len(_CONV_INDICES):
        raise ValueError(f"want 32 arrays of weights, got {len(weights)}")
    if not 1 <= upto < len(LAYER_NAMES):
        raise ValueError(f"layer index {upto} is not in 1..{len(LAYER_NAMES) - 1}")
    _check_pooling(pooling)
    pool = avg_pool_2x2 if pooling == "avg" else max_pool_2x2
    activations = [_float64(img)]
    for index in range(1, upto + 1):
        if index in _CONV_INDICES:
            kernel, bias = _kernel_and_bias(weights, index)
            activations.append(relu(conv3x3(activations[-1], kernel, bias)))
        else:
            activations.append(pool(activations[-1]))
    return activations


def backward(activations, weights, gradients, pooling="avg"):
    """Carry gradients given at several layers back to the image.

    Parameters
    ----------
    activations : list of ndarrays
        What `forward` returned, at least up to the last layer in `gradients`.
    weights : list of 32 ndarrays
        Those of `forward`.
    gradients : dict of int to ndarray
        For each layer index (1 or more) on which a scalar depends directly, the scalar's
        gradient with respect to that layer's activation, of the activation's shape.
    pooling : str
        That of `forward`.

    Returns
    -------
    ndarray of float64, shape (1, h, w, 3)
        Gradient of the scalar with respect to the image, through all those layers together.
    """
    _check_pooling(pooling)
    last = max(gradients)
    grad = np.zeros_like(activations[last])
    for index in range(last, 0, -1):
        if index in gradients:
            # A layer in the middle is used twice: by the cost, and by the layers after it.
            grad = grad + gradients[index]
        if index in _CONV_INDICES:
            kernel, _ = _kernel_and_bias(weights, index)
            grad = conv3x3_backward(relu_backward(grad, activations[index]), kernel)
        elif pooling == "avg":
            grad = avg_pool_2x2_backward(grad, activations[index - 1].shape)
        else:
            grad = max_pool_2x2_backward(grad, activations[index - 1])
    return grad


def _unroll(a):
    """Unroll activations (1, n_h, n_w, n_c) to one row per pixel, (n_h n_w, n_c)."""
    a = _float64(a)
    if a.ndim != 4 or a.shape[0] != 1:
        raise ValueError(f"want activations (1, n_h, n_w, n_c), got {a.shape}")
    return a.reshape(-1, a.shape[3])


def _counts(mask, rows):
    """Return how much each pixel counts as a column (n_h n_w, 1)."""
    counts = _float64(mask).reshape(-1, 1)
    if len(counts) != len(rows):
        raise ValueError(f"a mask of {len(counts)} entries for {len(rows)} pixels")
    return counts


def gram(a, mask=None):
    """Return the Gram matrix of a layer: inner products of its channels over all pixels.

    Parameters
    ----------
    a : ndarray, shape (1, n_h, n_w, n_c)
    mask : ndarray, n_h n_w entries, optional
        How much each pixel counts, row by row; all count 1 without it.

    Returns
    -------
    ndarray of float64, shape (n_c, n_c)
        Symmetric, and not divided by the number of pixels or channels.

    Raises
    ------
    ValueError
        If `a` is not four-dimensional with a batch of one, or the mask has another size.

    Notes
    -----
    Source: Gatys et al. 2015, equation 3. With a mask: Gatys et al. 2017, section 4, where each
    activation is multiplied by the root of what counts here.
    """
    rows = _unroll(a)
    if mask is None:
        return rows.T @ rows
    return rows.T @ (_counts(mask, rows) * rows)


def gram_backward(grad, a, mask=None):
    """Carry a gradient back through `gram`.

    With F the unrolled activations, G = F^T F has dG = dF^T F + F^T dF, and so a scalar with
    gradient D with respect to G has gradient F (D + D^T) with respect to F. With a mask
    G = F^T M F, M diagonal, and the gradient is M F (D + D^T).

    Parameters
    ----------
    grad : ndarray, shape (n_c, n_c)
        Gradient of a scalar with respect to the Gram matrix; it need not be symmetric.
    a : ndarray, shape (1, n_h, n_w, n_c)
    mask : ndarray, n_h n_w entries, optional
        That of `gram`.

    Returns
    -------
    ndarray of float64, shape of `a`
    """
    grad, rows = _float64(grad), _unroll(a)
    back = rows @ (grad + grad.T)
    return (back if mask is None else _counts(mask, rows) * back).reshape(np.shape(a))


def _content_difference(a_c, a_g):
    a_c, a_g = _float64(a_c), _float64(a_g)
    if a_c.shape != a_g.shape:
        # NumPy would broadcast some mismatches, and the cost would be wrong in silence.
        raise ValueError(f"content activations differ in shape: {a_c.shape} and {a_g.shape}")
    return a_g - a_c


def content_cost(a_c, a_g):
    """Return the content cost, sum (a_c - a_g)^2 / (4 n_h n_w n_c).

    Parameters
    ----------
    a_c, a_g : ndarray, shape (1, n_h, n_w, n_c)
        Activations of the content layer for the content image and for the generated image.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the two shapes differ.

    Notes
    -----
    Source: the article. Gatys et al. 2015, equation 1, has the factor 1/2 in the place of
    1/(4 n_h n_w n_c).
    """
    difference = _content_difference(a_c, a_g)
    return float(np.sum(difference**2) / (4 * difference.size))


def content_cost_gradient(a_c, a_g):
    """Return the gradient of `content_cost` with respect to `a_g`.

    Parameters
    ----------
    a_c, a_g : ndarray, shape (1, n_h, n_w, n_c)

    Returns
    -------
    ndarray of float64, shape of `a_g`
    """
    difference = _content_difference(a_c, a_g)
    return difference / (2 * difference.size)


def content_layers_cost(a_c_layers, a_g_layers, weights):
    """Return the content cost of several layers, the weighted sum of their content costs.

    Parameters
    ----------
    a_c_layers, a_g_layers : sequence of ndarrays, shape (1, n_h, n_w, n_c) each
        Activations of the content layers for the content image and for the generated image.
    weights : sequence of float
        Weight of each layer.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the three sequences differ in length, or two shapes differ.
    """
    _check_content_layers(a_c_layers, a_g_layers, weights)
    return float(sum(weight * content_cost(*layer) for *layer, weight in zip(a_c_layers, a_g_layers, weights)))


def content_layers_cost_gradient(a_c_layers, a_g_layers, weights):
    """Return the gradient of `content_layers_cost` with respect to each layer's activations.

    Parameters
    ----------
    a_c_layers, a_g_layers, weights
        As in `content_layers_cost`.

    Returns
    -------
    list of ndarrays of float64, shapes of `a_g_layers`
    """
    _check_content_layers(a_c_layers, a_g_layers, weights)
    return [weight * content_cost_gradient(*layer) for *layer, weight in zip(a_c_layers, a_g_layers, weights)]


def _check_content_layers(a_c_layers, a_g_layers, weights):
    if not len(a_c_layers) == len(a_g_layers) == len(weights):
        raise ValueError(
            "want two activations and one weight per content layer, "
            f"got {len(a_c_layers)}, {len(a_g_layers)} and {len(weights)}"
        )


def total_variation_cost(img):
    """Return the total variation of an image: sum of squared differences / (4 n_h n_w n_c).

    The differences are those of every pixel to the one below and to the one on its right.

    Parameters
    ----------
    img : ndarray, shape (1, n_h, n_w, n_c)

    Returns
    -------
    float

    Notes
    -----
    Source: Mahendran & Vedaldi 2015, section 3, with beta = 2, whose finite differences are
    these. The divisor is that of `content_cost`.
    """
    img = _float64(img)
    squares = sum(np.sum(np.diff(img, axis=axis) ** 2) for axis in (1, 2))
    return float(squares / (4 * img.size))


def total_variation_cost_gradient(img):
    """Return the gradient of `total_variation_cost`.

    Every difference d = x[i + 1] - x[i] adds 2 d to the gradient at i + 1 and takes 2 d off at i.

    Parameters
    ----------
    img : ndarray, shape (1, n_h, n_w, n_c)

    Returns
    -------
    ndarray of float64, shape of `img`
    """
    img = _float64(img)
    gradient = np.zeros_like(img)
    down, right = np.diff(img, axis=1), np.diff(img, axis=2)
    gradient[:, 1:] += down
    gradient[:, :-1] -= down
    gradient[:, :, 1:] += right
    gradient[:, :, :-1] -= right
    return gradient / (2 * img.size)


def _check_style_layers(gram_targets, a_g_layers, style_layer_coefficients, masks, style_weights):
    if not len(gram_targets) == len(a_g_layers) == len(style_layer_coefficients):
        raise ValueError(
            "want one Gram target and one coefficient per style layer, "
            f"got {len(gram_targets)} and {len(style_layer_coefficients)} for {len(a_g_layers)} layers"
        )
    styles = ()
    if masks is not None:
        styles = (len(style_weights),)
        if len(masks) != len(a_g_layers) or any(len(mask) != len(style_weights) for mask in masks):
            raise ValueError("want one mask per style for each style layer")
    for layer, a_g in enumerate(a_g_layers):
        n_c = np.shape(a_g)[3]
        if np.shape(gram_targets[layer]) != (*styles, n_c, n_c):
            raise ValueError(f"Gram target {np.shape(gram_targets[layer])} for a layer of {n_c} channels")


def _styles_of_layer(layer, gram_targets, masks, style_weights):
    """Return weight, Gram target and mask of each style that a layer is compared with."""
    if masks is None:
        return [(1.0, _float64(gram_targets[layer]), None)]
    return list(zip(style_weights, _float64(gram_targets[layer]), masks[layer]))


def style_cost(gram_targets, a_g_layers, style_layer_coefficients, masks=None, style_weights=None):
    """Return the style cost, a weighted sum over the style layers.

    Layer l adds lambda_l sum_ij (G_s - G_g)^2 / (4 n_c^2 (n_h n_w)^2), with the sizes of the
    generated image's activations. With masks it adds the weighted sum of that over the styles,
    where G_g is the masked Gram matrix.

    Parameters
    ----------
    gram_targets : sequence of ndarrays, shape (n_c, n_c) each
        Gram matrices of the style image.
    a_g_layers : sequence of ndarrays, shape (1, n_h, n_w, n_c) each
        Activations of the generated image at the same layers.
    style_layer_coefficients : sequence of float
        lambda_l of each layer.
    masks : sequence of ndarrays, k times n_h n_w entries each, optional
        With k styles, for each layer how much each pixel counts for each style; the Gram targets
        are of shape (k, n_c, n_c) then.
    style_weights : sequence of float, optional
        With masks, the weight of each of the k styles.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If the sequences differ in length, or a Gram target or a mask does not fit its layer.

    Notes
    -----
    Source: Gatys et al. 2015, equations 4 and 5; masks: Gatys et al. 2017, section 4.
    """
    _check_style_layers(gram_targets, a_g_layers, style_layer_coefficients, masks, style_weights)
    cost = 0.0
    for layer, a_g in enumerate(a_g_layers):
        _, n_h, n_w, n_c = np.shape(a_g)
        squares = sum(
            weight * np.sum((target - gram(a_g, mask)) ** 2)
            for weight, target, mask in _styles_of_layer(layer, gram_targets, masks, style_weights)
        )
        cost += style_layer_coefficients[layer] * squares / (4 * n_c**2 * (n_h * n_w) ** 2)
    return float(cost)


def style_cost_gradient(gram_targets, a_g_layers, style_layer_coefficients, masks=None, style_weights=None):
    """Return the gradient of `style_cost` with respect to each layer's activations.

    Parameters
    ----------
    gram_targets, a_g_layers, style_layer_coefficients, masks, style_weights
        As in `style_cost`.

    Returns
    -------
    list of ndarrays of float64, shapes of `a_g_layers`

    Notes
    -----
    Source: Gatys et al. 2015, equation 6. Where that equation has a case for negative
    activations there is none here: it belongs to the ReLU, and `relu_backward` sees to it.
    """
    _check_style_layers(gram_targets, a_g_layers, style_layer_coefficients, masks, style_weights)
    gradients = []
    for layer, a_g in enumerate(a_g_layers):
        _, n_h, n_w, n_c = np.shape(a_g)
        scale = style_layer_coefficients[layer] / (2 * n_c**2 * (n_h * n_w) ** 2)
        gradients.append(
            sum(
                gram_backward(scale * weight * (gram(a_g, mask) - target), a_g, mask)
                for weight, target, mask in _styles_of_layer(layer, gram_targets, masks, style_weights)
            )
        )
    return gradients


def total_cost(j_content, j_style, alpha=ALPHA, beta=BETA, j_tv=0, tv_weight=0):
    """Return the total cost, alpha J_content + beta J_style + tv_weight J_tv.

    Parameters
    ----------
    j_content, j_style : float
    alpha, beta : float
        Weights of the content cost and of the style cost.
    j_tv, tv_weight : float
        The total variation cost and its weight.

    Returns
    -------
    float

    Notes
    -----
    Source: Gatys et al. 2015, equation 7.
    """
    return float(alpha * j_content + beta * j_style + tv_weight * j_tv)


def targets(content, style, weights, content_layer_index=CONTENT_LAYER_INDEX, style_layer_indices=STYLE_LAYER_INDICES):
    """Return what the generated image is compared with.

    Parameters
    ----------
    content, style : ndarray, shape (1, h, w, 3)
    weights : list of 32 ndarrays
        As in `forward`.
    content_layer_index : int
    style_layer_indices : sequence of int

    Returns
    -------
    content_target : ndarray of float64, shape (1, n_h, n_w, n_c)
        Activations of the content image at the content layer.
    gram_targets : list of ndarrays of float64, shape (n_c, n_c) each
        Gram matrices of the style image at the style layers.
    """
    content_target = forward(content, weights, content_layer_index)[content_layer_index]
    style_activations = forward(style, weights, max(style_layer_indices))
    return content_target, [gram(style_activations[index]) for index in style_layer_indices]


def costs_and_gradient(
    img,
    content_target,
    gram_targets,
    weights,
    alpha=ALPHA,
    beta=BETA,
    content_layer_index=CONTENT_LAYER_INDEX,
    style_layer_indices=STYLE_LAYER_INDICES,
    style_layer_coefficients=STYLE_LAYER_COEFFICIENTS,
    content_layers=None,
    masks=None,
    style_weights=None,
    tv_weight=0,
    pooling="avg",
):
    """Return the three costs of an image and the gradient of the total cost.

    Parameters
    ----------
    img : ndarray, shape (1, h, w, 3)
        The generated image: blue, green, red, minus the ImageNet means.
    content_target : ndarray, shape (1, n_h, n_w, n_c)
    gram_targets : sequence of ndarrays, shape (n_c, n_c) each
        Both as `targets` returns them for the same layers.
    weights : list of 32 ndarrays
        As in `forward`.
    alpha, beta : float
        Weights of the content cost and of the style cost.
    content_layer_index : int
    style_layer_indices : sequence of int
        In any order. The content layer may be among them, and a layer may be named twice.
    style_layer_coefficients : sequence of float
        One per style layer.
    content_layers : sequence of (int, float), optional
        Several content layers in the place of one: index and weight of each. `content_target` is
        a sequence of their targets then.
    masks, style_weights : sequence, optional
        As in `style_cost`.
    tv_weight : float
        Weight of the total variation cost.
    pooling : str
        As in `forward`.

    Returns
    -------
    j_content, j_style, j_total : float
    gradient : ndarray of float64, shape (1, h, w, 3)
        Of the total cost, with respect to `img`.

    Raises
    ------
    ValueError
        If targets, layers and coefficients do not fit one another.
    """
    if content_layers is None:
        content_layers, content_target = [(content_layer_index, 1.0)], [content_target]
    content_indices, content_weights = zip(*content_layers)
    activations = forward(img, weights, max(*content_indices, *style_layer_indices), pooling)
    a_contents, a_styles = ([activations[index] for index in of] for of in (content_indices, style_layer_indices))

    content = content_target, a_contents, content_weights
    style = gram_targets, a_styles, style_layer_coefficients, masks, style_weights
    j_content, j_style = content_layers_cost(*content), style_cost(*style)
    j_total = total_cost(j_content, j_style, alpha, beta, total_variation_cost(img), tv_weight)

    # The total cost is linear in the others: their weights scale their gradients.
    gradients = {}
    for weight, indices, of_layers in (
        (alpha, content_indices, content_layers_cost_gradient(*content)),
        (beta, style_layer_indices, style_cost_gradient(*style)),
    ):
        for index, gradient in zip(indices, of_layers):
            gradients[index] = gradients.get(index, 0.0) + weight * gradient
    through_network = backward(activations, weights, gradients, pooling)
    return j_content, j_style, j_total, through_network + tv_weight * total_variation_cost_gradient(img)


def adam_step(x, g, m, v, t, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """Take one step of Adam, as TensorFlow's ``tf.train.AdamOptimizer`` does.

    TensorFlow follows the variant at the end of section 2 of Kingma & Ba 2014: both bias
    corrections go into the step size, so `epsilon` is added to sqrt(v) and not to the corrected
    sqrt(v_hat). In the early steps, where sqrt(v) is far below sqrt(v_hat), that makes epsilon
    weigh more.

    Parameters
    ----------
    x, g : ndarray
        The variable and the gradient there, of one shape.
    m, v : ndarray or float
        Moving averages of the gradient and of its square after the step before; 0 at first.
    t : int
        Number of this step, 1 for the first.
    learning_rate, beta1, beta2, epsilon : float

    Returns
    -------
    x, m, v : ndarrays of float64
        New arrays; those passed in are left as they were.
    """
    g = _float64(g)
    m = beta1 * _float64(m) + (1 - beta1) * g
    v = beta2 * _float64(v) + (1 - beta2) * g**2
    step_size = learning_rate * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    return _float64(x) - step_size * m / (np.sqrt(v) + epsilon), m, v


def run(
    content,
    style,
    start,
    weights,
    iterations,
    learning_rate=LEARNING_RATE,
    alpha=ALPHA,
    beta=BETA,
    content_layer_index=CONTENT_LAYER_INDEX,
    style_layer_indices=STYLE_LAYER_INDICES,
    style_layer_coefficients=STYLE_LAYER_COEFFICIENTS,
):
    """Transfer a style, and yield the costs and the image after each step.

    Parameters
    ----------
    content, style, start : ndarray, shape (1, h, w, 3)
        The content image, the style image and the noisy image to start from: blue, green, red,
        minus the ImageNet means.
    weights : list of 32 ndarrays
        As in `forward`.
    iterations : int
        Number of steps.
    learning_rate : float
        Of Adam, whose other parameters are the defaults of `adam_step`.
    alpha, beta, content_layer_index, style_layer_indices, style_layer_coefficients
        As in `costs_and_gradient`.

    Yields
    ------
    i : int
        -1 for `start` itself; then 0 to ``iterations - 1``, each after its step.
    j_content, j_style, j_total : float
        The costs of `img`.
    img : ndarray of float64, shape (1, h, w, 3)
        Not touched by later steps.

    Raises
    ------
    ValueError
        If the three images differ in shape.
    """
    if not np.shape(content) == np.shape(style) == np.shape(start):
        raise ValueError(
            f"content, style and start differ in shape: {np.shape(content)}, {np.shape(style)}, {np.shape(start)}"
        )
    content_target, gram_targets = targets(content, style, weights, content_layer_index, style_layer_indices)

    img, m, v = _float64(start).copy(), 0.0, 0.0
    for i in range(-1, iterations):
        j_content, j_style, j_total, gradient = costs_and_gradient(
            img,
            content_target,
            gram_targets,
            weights,
            alpha,
            beta,
            content_layer_index,
            style_layer_indices,
            style_layer_coefficients,
        )
        yield i, j_content, j_style, j_total, img
        # Step i is over; the one that follows, step i + 1, is number i + 2 counted from 1.
        img, m, v = adam_step(img, gradient, m, v, i + 2, learning_rate)
