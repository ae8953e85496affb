"""The costs that the article's own program printed on TensorFlow 1.10.1; README.md beside this file describes them."""

import json
import pathlib

#: The names of the two runs: on the pictures in `input/`, and on the article's.
SHIPPED = "tf1.10.1_shipped_500"
ARTICLE = "tf1.10.1_article_starry_500"

#: (last iteration, relative tolerance): README.md beside this file says where they come from.
TOLERANCES = ((0, 1e-5), (20, 2e-4), (200, 1e-3), (499, 5e-3))


def reference(name):
    """Return a run as a dict.

    `costs` is a list of rows [i, J_content, J_style, J_total]; `content` and `style` name the pictures.
    """
    with open(str(pathlib.Path(__file__).with_name(name + ".json"))) as file:
        return json.load(file)
