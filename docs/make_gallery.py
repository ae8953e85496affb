"""Make the pictures of docs/gallery/ and the page docs/gallery.md, each picture under the command that makes it.

    python docs/make_gallery.py              all pictures that are missing, and the page
    python docs/make_gallery.py NAME ...     these pictures, and the page

Run it from the project's folder. A picture takes one to two minutes on two cores.
"""

import pathlib
import subprocess
import sys
from typing import List, NamedTuple

import cv2
import numpy as np

FOLDER = pathlib.Path("docs/gallery")
PAGE = pathlib.Path("docs/gallery.md")

#: What every picture of the gallery is made with, besides its own options.
COMMON = "--size 320 --optimizer lbfgs --iterations 80 --seed 0"
STARRY_NIGHT = "input/starry_night.jpg"
GLASS = "docs/gallery/glass.jpg"
MASKS = "docs/gallery/cat_mask.png", "docs/gallery/background_mask.png"


class Shown(NamedTuple):
    """A picture: its name, what stands above it, and the options that make it."""

    name: str
    about: str
    options: str = ""
    style: str = STARRY_NIGHT
    common: str = COMMON

    @property
    def path(self) -> str:
        """The file."""
        return f"docs/gallery/{self.name}.jpg"

    @property
    def command(self) -> str:
        """The command that makes it."""
        words = ["nst-graph stylize input/cat.jpg", self.style, self.path, self.common, self.options]
        return " ".join(word for word in words if word)


class Section(NamedTuple):
    """Pictures to compare with each other."""

    title: str
    text: str
    shown: List[Shown]


SECTIONS = [
    Section(
        "Style weight",
        "The style's weight beside the content's (10). Near 40 little changes: the style cost is nearly the whole.",
        [
            Shown("style_weight_0.001", "0.001", "--style-weight 0.001"),
            Shown("style_weight_0.03", "0.03", "--style-weight 0.03"),
            Shown("standard", "40, the article's"),
        ],
    ),
    Section(
        "Two styles",
        f"The second style is [a picture that the script of this page has drawn](gallery/{pathlib.Path(GLASS).name}). "
        "Blended, both are everywhere. With masks, each has its own part. The masks are made by `nst-graph mask "
        f"input/cat.jpg {MASKS[0]} --rectangle 0,0,95%,100% --feather 4`, and with `--invert` for the background.",
        [
            Shown("blended", "blended, two parts to one", f"--style {GLASS}:1", STARRY_NIGHT + ":2"),
            Shown(
                "masked",
                "masked",
                f"--style {GLASS}:1 --style-mask {MASKS[0]} --style-mask {MASKS[1]}",
                STARRY_NIGHT + ":30",
            ),
        ],
    ),
    Section(
        "The content's colours",
        "`luminance` gives the result the content's colours. `statistics` recolours the style before the run.",
        [
            Shown("luminance", "luminance", "--preserve-colors luminance"),
            Shown("statistics", "statistics", "--preserve-colors statistics"),
        ],
    ),
    Section(
        "Content layer",
        "An early layer keeps every hair, a late one the arrangement. At the article's weights the content cost is "
        "too small for the layer to matter much, so here the style has less weight.",
        [
            Shown("conv2_2", "conv2_2", "--style-weight 0.01 --content-layers conv2_2"),
            Shown("conv4_2", "conv4_2, the article's", "--style-weight 0.01 --content-layers conv4_2"),
            Shown("conv5_2", "conv5_2", "--style-weight 0.01 --content-layers conv5_2"),
        ],
    ),
    Section(
        "Pooling",
        "The article takes average pools. VGG-19 was trained with max pools.",
        [
            Shown("standard", "average pools, the article's"),
            Shown("max", "max pools", "--pooling max"),
        ],
    ),
    Section(
        "Start",
        "The image that the run starts from.",
        [
            Shown("standard", "noise mixed with the content, the article's"),
            Shown("content", "the content itself", "--init content"),
        ],
    ),
    Section(
        "Total variation",
        "A weight on the differences of neighbouring pixels makes the picture smoother.",
        [
            Shown("standard", "0, the article's"),
            Shown("tv_1000000", "1000000", "--tv-weight 1000000"),
        ],
    ),
    Section(
        "Optimiser",
        "L-BFGS and Adam, the article's, after 80 steps each. A step takes them the same time.",
        [
            Shown("standard", "L-BFGS"),
            Shown("adam", "Adam", common=COMMON.replace("lbfgs", "adam")),
        ],
    ),
]


def glass() -> np.ndarray:
    """Draw a stained-glass window: uint8 (480, 640, 3), each pixel in the colour of the nearest of 220 points."""
    rng = np.random.RandomState(7)
    width, height, points = 640, 480, 220
    places = rng.uniform(0, 1, (points, 2)) * (width, height)
    hues = (rng.choice([4, 12, 24, 60, 105, 118, 165], points) + rng.randint(-3, 4, points)) % 180
    hsv = np.stack([hues, rng.randint(170, 256, points), rng.randint(120, 256, points)], axis=1).astype(np.uint8)
    colours = cv2.cvtColor(hsv[np.newaxis], cv2.COLOR_HSV2BGR)[0]
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    distances = np.hypot(x[..., None] - places[:, 0], y[..., None] - places[:, 1])
    nearest, second = np.sort(distances, axis=2)[..., :2].transpose(2, 0, 1)
    lead = np.clip((second - nearest) / 5, 0, 1)[..., None]  # dark where two cells meet
    shade = 0.75 + 0.25 * np.clip(nearest / 18, 0, 1)[..., None]
    return (colours[distances.argmin(axis=2)] * lead * shade).astype(np.uint8)


def page() -> str:
    """Return the text of the page."""
    text = (
        "# Gallery\n\n"
        "What the options do, on the two pictures in `input/`. `python docs/make_gallery.py` makes this page.\n"
    )
    for section in SECTIONS:
        text += f"\n## {section.title}\n\n{section.text}\n"
        for shown in section.shown:
            picture = pathlib.Path(shown.path)
            text += f"\n{shown.about}:\n\n```sh\n{shown.command}\n```\n\n![{shown.about}](gallery/{picture.name})\n"
    return text


def commands_of_masks() -> List[str]:
    """Return the commands that make the masks."""
    common = "--rectangle 0,0,95%,100% --feather 4"
    return [
        f"nst-graph mask input/cat.jpg {MASKS[0]} {common}",
        f"nst-graph mask input/cat.jpg {MASKS[1]} {common} --invert",
    ]


def main(names: List[str]) -> None:
    """Make the pictures that are missing or named, and the page."""

    def run(command: str) -> None:
        print(command, flush=True)
        subprocess.run([sys.executable, "-m", "nst_graph", *command.split()[1:], "--overwrite"], check=True)

    FOLDER.mkdir(exist_ok=True)
    cv2.imwrite(GLASS, glass(), [cv2.IMWRITE_JPEG_QUALITY, 90])
    for command in commands_of_masks():
        run(command)
    for shown in {shown.name: shown for section in SECTIONS for shown in section.shown}.values():
        if shown.name in names or (not names and not pathlib.Path(shown.path).exists()):
            run(shown.command + " --no-log")
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
