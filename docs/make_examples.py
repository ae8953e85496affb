"""Make the pictures of the README's examples: the styles that are drawn here, then what its commands make.

    python docs/make_examples.py              all pictures that are missing
    python docs/make_examples.py NAME ...     these pictures, `cat_mosaic` for example

Run it from the project's folder. A picture takes two to three minutes on two cores.
"""

import pathlib
import re
import shlex
import shutil
import subprocess
import sys
from typing import List, Tuple

import cv2
import numpy as np

FOLDER = pathlib.Path("docs/examples")

#: Pixels of the drawn styles.
WIDTH, HEIGHT = 960, 720


def commands(readme: str) -> List[str]:
    """Return the commands of the README's section of examples."""
    (section,) = re.findall(r"^## Examples\n(.*?)^## ", readme.replace("\\\n", " "), re.S | re.M)
    return [line for line in section.splitlines() if line.startswith("nst-graph stylize ")]


def smooth(rng: np.random.RandomState, sigma: float) -> np.ndarray:
    """Return smooth noise: float64 (HEIGHT, WIDTH), from -1 to 1. `sigma` is the size of its hills in pixels."""
    noise = cv2.GaussianBlur(rng.uniform(-1, 1, (HEIGHT, WIDTH)), (0, 0), sigma)
    return noise / np.abs(noise).max()


def shade(rng: np.random.RandomState, colour: Tuple[int, int, int], range_: int) -> List[int]:
    """Return a colour that differs a little from another one; blue, green, red."""
    return np.clip(np.add(colour, rng.randint(-range_, range_ + 1, 3)), 0, 255).tolist()


def mosaic() -> np.ndarray:
    """Draw a mosaic: uint8 (HEIGHT, WIDTH, 3), square stones in circles around one point, in fields of colour."""
    rng = np.random.RandomState(11)
    side, centre = 15, (0.37 * WIDTH, 0.45 * HEIGHT)
    colours = [
        *((40, 50, 150), (60, 120, 200), (90, 190, 230), (200, 215, 225)),
        *((150, 110, 40), (190, 170, 80), (80, 60, 40), (60, 110, 70)),
    ]
    picture = np.full((HEIGHT, WIDTH, 3), (70, 80, 90), np.uint8)
    field = smooth(rng, 100)
    for radius in range(side, int(np.hypot(WIDTH, HEIGHT)), side):
        count = int(2 * np.pi * radius / side)
        for stone in range(count):
            angle = 2 * np.pi * stone / count + rng.uniform(-0.02, 0.02)
            x, y = centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)
            if -side < x < WIDTH + side and -side < y < HEIGHT + side:
                value = field[int(np.clip(y, 0, HEIGHT - 1)), int(np.clip(x, 0, WIDTH - 1))]
                colour = colours[int(value * 3 + radius / 110 + rng.uniform(-0.25, 0.25)) % len(colours)]
                turned = np.degrees(angle) + rng.uniform(-6, 6)
                corners = cv2.boxPoints(((x, y), (side - 3, side - 3), turned))
                cv2.fillConvexPoly(picture, corners.astype(np.int32), shade(rng, colour, 22), cv2.LINE_AA)
    return picture


def strokes() -> np.ndarray:
    """Draw brush strokes: uint8 (HEIGHT, WIDTH, 3), three layers that follow a smooth field of directions."""
    rng = np.random.RandomState(3)
    colours = [
        *((40, 60, 200), (30, 140, 235), (60, 200, 245), (200, 120, 40)),
        *((150, 60, 30), (90, 160, 60), (220, 220, 235), (50, 30, 90)),
    ]
    picture = np.full((HEIGHT, WIDTH, 3), (60, 120, 170), np.uint8)
    directions, field = 1.2 * np.pi * smooth(rng, 90), smooth(rng, 60) / 2 + 0.5
    for length, thickness, count in ((70, 16, 1500), (45, 9, 4000), (26, 5, 6000)):
        for _ in range(count):
            x, y = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT)
            number = (field[int(y), int(x)] * 1.2 + rng.uniform(-0.12, 0.12)) * len(colours)
            points = []
            for _ in range(5):
                points.append((int(x), int(y)))
                angle = directions[int(np.clip(y, 0, HEIGHT - 1)), int(np.clip(x, 0, WIDTH - 1))]
                x, y = x + np.cos(angle) * length / 5, y + np.sin(angle) * length / 5
            colour = shade(rng, colours[int(number) % len(colours)], 25)
            cv2.polylines(picture, [np.array(points, np.int32)], False, colour, thickness, cv2.LINE_AA)
    return picture


def main(names: List[str]) -> None:
    """Draw the styles, and make the pictures that are missing or named."""
    FOLDER.mkdir(exist_ok=True)
    for draw in (mosaic, strokes):
        cv2.imwrite(str(FOLDER / f"{draw.__name__}.jpg"), draw(), [cv2.IMWRITE_JPEG_QUALITY, 85])
    for command in commands(pathlib.Path("README.md").read_text(encoding="utf-8")):
        words = shlex.split(command)
        output = pathlib.Path(words[4])
        shown = FOLDER / output.name
        if shown.stem in names or (not names and not shown.exists()):
            print(command, flush=True)
            subprocess.run([sys.executable, "-m", "nst_graph", *words[1:], "--overwrite", "--no-log"], check=True)
            shutil.copy(str(output), str(shown))


if __name__ == "__main__":
    main(sys.argv[1:])
