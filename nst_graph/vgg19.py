"""The layers of VGG-19 without its top, as data.

The article's layer indices are positions in `VGG19(include_top=False).layers`: 0 is the input layer, 1 is
block1_conv1, 21 is block5_pool. `settings` checks layer indices against this table. `weights` checks the shapes of
weights against it. A test compares the table with the network that Keras builds.

Source: K. Simonyan and A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
2014, configuration E. Names and order are Keras's.
"""

import math
from typing import Dict, NamedTuple, Tuple

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
    def other_names(self) -> Tuple[str, ...]:
        """The literature's names: `conv4_2` and `relu4_2` for block4_conv2, `pool4` for block4_pool.

        Keras's layer is the convolution with its ReLU, so both names mean the activations after the ReLU.
        """
        number = self.block[len("block") :]
        if not self.is_convolution:
            return (f"pool{number}",)
        return tuple(f"{kind}{number}_{self.name[-1]}" for kind in ("conv", "relu"))

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

#: Layer indices by name: Keras's and the literature's.
INDICES: Dict[str, int] = {
    name: index for index in LAYER_INDICES for name in (LAYERS[index].name, *LAYERS[index].other_names)
}


def feature_map_size(size: Tuple[int, int], index: int, pooling: str = "avg") -> Tuple[int, int]:
    """Return width and height of a layer's activations.

    Parameters
    ----------
    size : tuple of int
        Width and height of the picture in pixels.
    index : int
        Position in `LAYERS`.
    pooling : str
        `avg`: the article's average pools, which have a pool of their own for an odd last row or column. `max`: Keras's
        max pools, which leave it out.

    Returns
    -------
    tuple of int
        Width and height; 0 where max pools leave nothing.
    """
    pools = sum(not layer.is_convolution for layer in LAYERS[1 : index + 1])
    width, height = (math.ceil(side / 2**pools) if pooling == "avg" else side >> pools for side in size)
    return width, height
