"""`nst-graph layers`: the layers that costs can use."""

import argparse
from typing import Any

from nst_graph import program
from nst_graph.cli.words import sentence
from nst_graph.settings import Settings, from_options
from nst_graph.vgg19 import LAYER_INDICES, LAYERS, feature_map_size


def _layers(arguments: argparse.Namespace) -> None:
    settings = Settings(**from_options({"--size": arguments.size, "--pooling": arguments.pooling}))
    # A picture of 4:3, as the article's, where only its longest side is known.
    size = (settings.size, round(settings.size * 3 / 4)) if isinstance(settings.size, int) else settings.size
    content, style = (
        {index for index, _ in weights} for weights in (settings.content_layer_weights, settings.style_layer_weights)
    )
    print(f"index  layer         other names        channels  at {size[0]}x{size[1]}   default")
    for index in LAYER_INDICES:
        layer = LAYERS[index]
        width, height = feature_map_size(size, index, settings.pooling)
        default = " ".join(word for word, indices in (("content", content), ("style", style)) if index in indices)
        line = f"{index:5}  {layer.name:12}  {', '.join(layer.other_names):17}  {layer.channels:8}  "
        print((line + f"{f'{width}x{height}':{6 + len(f'{size[0]}x{size[1]}')}}{default}").rstrip())
    program.check_printed()


def add_to(commands: Any) -> None:
    """Add the subcommand to those of a parser."""
    about = "list VGG-19's layers: names, channels, size of the feature maps, and which ones are used by default"
    layers = commands.add_parser("layers", help=about, description=sentence(about))
    layers.add_argument(
        "--size", metavar="N|W,H", default="400", help="size of the picture; N is a picture of 4:3 (400)"
    )
    layers.add_argument("--pooling", metavar="avg|max", default="avg", help="see `nst-graph stylize` (avg)")
    layers.set_defaults(run=_layers)
