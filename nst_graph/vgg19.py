"""The layers of VGG-19 without its top, as data.

The article's layer indices are positions in `VGG19(include_top=False).layers`: 0 is the input layer, 1 is
block1_conv1, 21 is block5_pool. `settings` checks layer indices against this table. `weights` checks the shapes of
weights against it. A test compares the table with the network that Keras builds.

Source: K. Simonyan and A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
2014, configuration E. Names and order are Keras's.
"""

from typing import NamedTuple, Tuple

#: For each block: the number of its convolutions and of their output channels.
_BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))


class Layer(NamedTuple):
    """One layer.

    Attributes
    ----------
    name : str
        Keras's name, `block1_conv1` for example.
    in_channels, channels : int
        Number of input and output channels.
    """

    name: str
    in_channels: int
    channels: int

    @property
    def is_convolution(self) -> bool:
        """Whether the layer is a 3x3 convolution with its ReLU. The others are 2x2 max pools and the input layer."""
        return "conv" in self.name

    @property
    def block(self) -> str:
        """Name of the block that the layer is in: `block1` for block1_conv1 and for block1_pool."""
        return self.name.partition("_")[0]

    @property
    def weight_shapes(self) -> Tuple[Tuple[int, ...], ...]:
        """Shapes of the kernel (height, width, in, out) and the bias (out,); empty for a layer without weights."""
        if not self.is_convolution:
            return ()
        return (3, 3, self.in_channels, self.channels), (self.channels,)


def _layers() -> Tuple[Layer, ...]:
    layers = [Layer("input", 3, 3)]
    for block, (convolutions, channels) in enumerate(_BLOCKS, start=1):
        for convolution in range(1, convolutions + 1):
            name = f"block{block}_conv{convolution}"
            layers.append(Layer(name, layers[-1].channels, channels))
        layers.append(Layer(f"block{block}_pool", channels, channels))
    return tuple(layers)


#: All 22 layers. A layer's position is its index in the article.
LAYERS = _layers()

#: The 16 layers that have weights, in order.
CONVOLUTIONS = tuple(layer for layer in LAYERS if layer.is_convolution)

#: Indices of the layers that a cost can use: all except the input layer.
LAYER_INDICES = range(1, len(LAYERS))
