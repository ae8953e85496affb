"""The options of nst-graph stylize and the other subcommands: what each does, and what is refused."""

import csv
import dataclasses
import hashlib
import json
import logging
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

import nst_graph
from nst_graph import memory, metadata, observers, precision, transfer, weights
from nst_graph.checkpoint import State, write_checkpoint
from nst_graph.cli import main
from nst_graph.cli.show import stored_record
from nst_graph.errors import SettingError
from nst_graph.inputs import Style, read_inputs
from nst_graph.objective import Objective
from nst_graph.record import record_of, to_text
from nst_graph.runtimes import get_runtime
from nst_graph.settings import Settings

#: Few layers, so that a graph is built quickly: for tests in which the layers do not matter.
SHALLOW = {"content_layers": "conv2_1", "style_layers": "conv1_1,conv1_2"}
LAYERS = [f"--{name.replace('_', '-')}={value}" for name, value in SHALLOW.items()]
MORE = ["--weights=random", "--no-log"]


def noise(seed, height, width, low=0, high=256):
    """Return a picture with areas of one colour and grain: averaged, sampled and interpolated, it looks different."""
    rng = np.random.RandomState(seed)
    areas = cv2.resize(rng.randint(low, high, (3, 4, 3)).astype(np.uint8), (width, height))
    grain = rng.randint(-30, 31, (height, width, 3))
    return np.clip(areas.astype(int) + grain, low, high - 1).astype(np.uint8)


def write_inputs(folder):
    """Write the pictures that the command lines of this module name."""
    mask = np.zeros((9, 12, 3), np.uint8)
    mask[:, 4:] = 255
    pictures = {
        "c.png": noise(1, 40, 60),
        "s.png": noise(2, 50, 30),
        "t.png": noise(3, 33, 44),
        "tiny.png": noise(4, 10, 12),
        "wide.png": noise(6, 1, 4000),
        "mask.png": mask,
        "black.png": np.zeros((4, 4, 3), np.uint8),
        "bare.png": noise(5, 20, 30),
    }
    for name, picture in pictures.items():
        cv2.imwrite(str(folder / name), picture)
    return folder


def assert_shows(found, picture):
    """Check that a run's image is a picture. The article cuts off digits where it makes 8 bits of the image again."""
    lower = picture.astype(int) - found
    assert found.shape == picture.shape and set(np.unique(lower)) <= {0, 1}
    assert lower.mean() < 0.05


def read(folder, name):
    picture = cv2.imread(str(folder / name))
    assert picture is not None
    return picture


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_inputs(tmp_path)


@pytest.fixture
def stylize(folder, monkeypatch, in_process, vgg_weights, capsys):
    """Run the command in this process; return what it wrote to standard error, in lines, and what observers see."""
    monkeypatch.setitem(weights._SOURCES, "random", lambda: vgg_weights)  # computed once
    seen = []

    class Seeing(observers.History):
        def begin(self, run):
            super().begin(run)
            seen.append(run)

    monkeypatch.setattr(observers, "History", Seeing)

    def run(*words):
        logging.getLogger("nst_graph").handlers.clear()
        capsys.readouterr()
        main(["stylize", *MORE, *words])
        return capsys.readouterr().err.splitlines(), seen[-1]

    return run


@pytest.fixture
def python(folder, vgg_weights):
    """Run nst_graph.stylize on few layers; return the picture."""

    def run(content, style, **keywords):
        layers = {} if any("layer" in name for name in keywords) else SHALLOW
        return nst_graph.stylize(content, style, weights=vgg_weights, **{**layers, **keywords})

    return run


class Seen(nst_graph.Observer):
    """Keeps what observers are told of a run, and its pictures."""

    def __init__(self, every=0):
        self.every, self.pictures = every, {}

    def begin(self, run):
        self.run = run

    def step(self, progress):
        if progress.image is not None:
            self.pictures[progress.iteration] = progress.image


# What is refused ----------------------------------------------------------------------------------------------------

#: Runs command lines, one after the other, in one process. For each it prints, as JSON, how a process of its own would
#: have ended, what it would have shown, whether it asked for TensorFlow, and which paths it made or changed.
EXECUTOR = """
import contextlib, importlib.abc, io, json, logging, os, sys, traceback
from nst_graph.cli import main

class NoTensorFlow(importlib.abc.MetaPathFinder):
    asked = False
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras", "tf_keras"):
            NoTensorFlow.asked = True
            raise ImportError("TensorFlow is imported")

def paths():
    found = {}
    for folder, _, names in os.walk("."):
        found[folder] = None
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                found[os.path.join(folder, name)] = file.read()
    return found

sys.meta_path.insert(0, NoTensorFlow())
results = []
before = paths()
for words in json.load(sys.stdin):
    NoTensorFlow.asked, status = False, 0
    logging.getLogger("nst_graph").handlers.clear()
    with contextlib.redirect_stderr(io.StringIO()) as errors, contextlib.redirect_stdout(io.StringIO()) as output:
        try:
            try:
                main(words)
            except Exception:
                sys.excepthook(*sys.exc_info())
                status = 1
        except SystemExit as end:
            status = end.code
    after = paths()
    changed = sorted(path for path in before.keys() | after.keys() if before.get(path, 0) != after.get(path, 0))
    results.append([status, errors.getvalue(), output.getvalue(), NoTensorFlow.asked, changed])
    before = after
json.dump(results, sys.stdout)
"""

NEW = "stylize c.png s.png new.png --weights=random"
ON = "stylize --resume=done.npz"
FROM = "stylize c.png s.png new.png --settings-from"

#: A word that no name and no number can have.
LONG = "a" * 5000

#: Command lines, and a part of the line that each must show.
REFUSED = [
    # words
    ("stylize", "a run takes CONTENT STYLE, and OUTPUT if you like"),
    ("stylize c.png", "a run takes CONTENT STYLE, and OUTPUT if you like"),
    (f"{NEW} more.png", "unrecognized arguments: more.png"),
    (f"{NEW} --siz=40", "unrecognized arguments: --siz=40"),
    (f"{NEW} --size", "expected one argument"),
    (f"{NEW} --enlarge=yes", "ignored explicit argument 'yes'"),
    ("stylise c.png s.png new.png", "invalid choice: 'stylise'"),
    # choices and numbers
    (f"{NEW} --pooling=mean", "--pooling must be one of avg, max, not 'mean'"),
    (f"{NEW} --optimizer=sgd", "--optimizer must be one of adam, lbfgs, not 'sgd'"),
    (f"{NEW} --preserve-colors=yes", "--preserve-colors must be one of none, luminance, statistics, not 'yes'"),
    (f"{NEW} --size=0", "--size must be a whole number from 1 to 32766, not 0"),
    (f"{NEW} --size=400x300", "--size must be width and height in pixels, like 400,300, or the longest side"),
    (f"{NEW} --size=-4,3", "--size must be a whole number from 1 to 32766, not -4"),
    (f"{NEW} --style-scale=0", "--style-scale must be a number above 0, not 0"),
    (f"{NEW} --alpha=-1", "--alpha must be a number of at least 0, not -1"),
    (f"{NEW} --content-weight=-1", "--alpha must be a number of at least 0, not -1"),
    (f"{NEW} --style-weight=nan", "--beta must be a number of at least 0, not 'nan'"),
    (f"{NEW} --tv-weight=-0.1", "--tv-weight must be a number of at least 0, not -0.1"),
    (f"{NEW} --noise-ratio=1.1", "--noise-ratio must be a number from 0 to 1, not 1.1"),
    (f"{NEW} --learning-rate=0", "--learning-rate must be a number above 0, not 0"),
    (f"{NEW} --iterations=-1", "--iterations must be a whole number of at least 0, not -1"),
    (f"{NEW} --iterations=1.5", "--iterations must be a whole number of at least 0, not 1.5"),
    (f"{NEW} --seed=-1", "--seed must be a whole number from 0 to 4294967295, not -1"),
    (f"{NEW} --save-every=0", "must be a whole number from 1 to 999999999, not '0'"),
    (f"{NEW} --checkpoint=n.npz --checkpoint-every=-1", "must be a whole number from 1 to 999999999, not '-1'"),
    (f"{NEW} --alpha=0 --beta=0", "there would be no cost to train on"),
    # layers
    (f"{NEW} --style-layers=conv1_3", "there is no layer 'conv1_3'; did you mean conv"),
    (f"{NEW} --style-layers=block3conv1", "there is no layer 'block3conv1'; did you mean block3_conv1"),
    (f"{NEW} --style-layers=xyzzy", "there is no layer 'xyzzy'; `nst-graph layers` lists them"),
    (f"{NEW} --content-layers=22", "there is no layer 22"),
    (f"{NEW} --content-layers=\u00b2", "there is no layer '\u00b2'"),
    (f"{NEW} --style-layers=conv1_1:1,conv2_1", "layers that all have a weight, or none"),
    (f"{NEW} --style-layers=conv1_1,relu1_1", "layers that differ from each other"),
    (f"{NEW} --style-layers=conv1_1:-1", "must be a number of at least 0, not -1.0"),
    (f"{NEW} --style-layer-indices=1,2", "there are 5 coefficients and 2 layers"),
    # what has no effect
    (f"{NEW} --optimizer=lbfgs --learning-rate=2", "learning_rate has no effect with the optimizer lbfgs"),
    (f"{NEW} --init=content --noise-ratio=0.6", "noise_ratio has no effect with another init"),
    (f"{NEW} --init=t.png --noise-ratio=1", "noise_ratio has no effect with another init"),
    (f"{NEW} --size=40,30 --enlarge", "enlarge has no effect with a size W,H"),
    (f"{NEW} --size=40,30 --style-scale=1", "style_scale has no effect with a size W,H"),
    (f"{NEW} --content-layers=4 --content-layer-index=4", "content_layer_index has no effect with content_layers"),
    (
        f"{NEW} --style-layers=4 --style-layer-indices=1,4,7,12,17",
        "style_layer_indices has no effect with style_layers",
    ),
    (
        f"{NEW} --style-layers=4 --style-layer-coefficients=1,1,1,1,1",
        "style_layer_coefficients has no effect with style_layers",
    ),
    # stages, speed and memory
    (f"{NEW} --preset=quick", "preset must be one of fast, not 'quick'"),
    (f"{NEW} --start-size=third", "--start-size must be half, or a whole number from 1 to 32766, not 'third'"),
    (f"{NEW} --stages=40", "--stages must be longest sides that grow, each with its iterations"),
    (f"{NEW} --stages=20:5,40:0", "each number of iterations of --stages must be a whole number of at least 1, not 0"),
    (f"{NEW} --stages=20:5,40:5 --size=50", "must end with the longest side of the size, 50, not with 40"),
    (f"{NEW} --stages=20:5,40:5 --size=50,30", "must end with the longest side of the size, 50, not with 40"),
    (f"{NEW} --stages=20:5,40:5 --iterations=5", "iterations has no effect with stages"),
    (f"{NEW} --stages=20:5,40:5 --start-size=20", "start_size has no effect with stages"),
    (f"{NEW} --preset=fast --learning-rate=1", "learning_rate has no effect with the optimizer lbfgs"),
    (f"{NEW} --precision=float16", "--precision must be one of float32, bfloat16, auto, not 'float16'"),
    (f"{NEW} --strips=1", "--strips must be auto or off, or a whole number from 2 to 32766, not 1"),
    (f"{NEW} --threads=0", "--threads must be a whole number from 1 to 4096, not 0"),
    (
        "stylize c.png s.png new.png --size=30 --start-size=half --pooling=max",
        "a picture of 15x10 has nothing left at block5_conv1 with max pools",
    ),
    # pictures
    ("stylize missing.png s.png new.png", "there is no picture 'missing.png'"),
    ("stylize c.png missing.png new.png", "there is no picture 'missing.png'"),
    ("stylize c.png missing.png:2 new.png", "there is no picture 'missing.png'"),
    ("stylize c.png d new.png", "'d' is a folder"),
    ("stylize c.png text.txt new.png", "'text.txt' is damaged or not a picture"),
    (f"{NEW} --style=missing.png", "there is no picture 'missing.png'"),
    (f"{NEW} --style=missing.png:much", "there is no picture 'missing.png:much'"),
    (f"{NEW} --style=t.png:0", "the weight of style 2 must be a number above 0, not 0"),
    (f"{NEW} --style=t.png:-2", "the weight of style 2 must be a number above 0, not -2"),
    (f"{NEW} --style=t.png:inf", "the weight of style 2 must be a number above 0, not inf"),
    (f"{NEW} --style=t.png:nan", "the weight of style 2 must be a number above 0, not nan"),
    (f"{NEW} --style=t.png:1e308 --style=s.png:1e308", "the weights of the styles have no finite sum"),
    (f"{NEW} --style=t.png:", "there is no picture 't.png:'"),
    (f"{NEW} --style=t.png --style-mask=mask.png", "there are 2 styles and 1 masks"),
    (f"{NEW} --style-mask=mask.png --style-mask=all", "there are 1 styles and 2 masks"),
    (f"{NEW} --style-mask=missing.png", "there is no picture 'missing.png'"),
    (f"{NEW} --style-mask=black.png", "the mask 'black.png' is black everywhere"),
    (f"{NEW} --style-mask=text.txt", "'text.txt' is damaged or not a picture"),
    (f"{NEW} --init=missing.png", "there is no picture 'missing.png'"),
    (f"{NEW} --init=Content", "there is no picture 'Content'"),
    (
        "stylize tiny.png s.png new.png --pooling=max",
        "a picture of 12x10 has nothing left at block5_conv1 with max pools",
    ),
    (f"{NEW} --size=15,40 --pooling=max", "a picture of 15x40 has nothing left at block5_conv1 with max pools"),
    ("stylize c.png tiny.png new.png --pooling=max", "12x10 has nothing left at block5_conv1 with max pools"),
    (f"{NEW} --style-scale=0.1 --pooling=max", "has nothing left at block5_conv1 with max pools"),
    # files to write
    ("stylize c.png s.png bare.png", "the file 'bare.png' exists; name another, or replace it with --overwrite"),
    ("stylize c.png s.png text.txt", "cannot write 'text.txt'"),
    ("stylize c.png s.png new.xyz", "cannot write 'new.xyz'"),
    ("stylize c.png s.png new", "cannot write 'new'"),
    ("stylize c.png s.png d/", "cannot write 'd/'"),
    ("stylize c.png s.png c.png --overwrite", "'c.png', is read or written by the same run already"),
    (f"{NEW} --style=t.png --plot=t.png --overwrite", "'t.png', is read or written by the same run already"),
    (f"{NEW} --init=t.png --history=t.png --overwrite", "'t.png', is read or written by the same run already"),
    (f"{NEW} --style-mask=mask.png --plot=mask.png --overwrite", "is read or written by the same run already"),
    (f"{NEW} --checkpoint=c.png --overwrite", "'c.png', is read or written by the same run already"),
    (f"{NEW} --checkpoint=new.png", "'new.png', is read or written by the same run already"),
    (f"{NEW} --checkpoint=n --history=n", "'n', is read or written by the same run already"),
    (f"{NEW} --checkpoint=d", "'d' is a folder"),
    (f"{NEW} --checkpoint=text.txt", "the file 'text.txt' exists"),
    (f"{NEW} --checkpoint=cut.npz", "the file 'cut.npz' exists"),
    (f"{NEW} --checkpoint=done.npz", "the file 'done.npz' exists"),
    (f"{NEW} --history=text.txt", "the file 'text.txt' exists"),
    (f"{NEW} --plot=bare.png", "the file 'bare.png' exists"),
    ("stylize c.png s.png b.png --save-every=30", "the file 'b_0030.png' exists"),
    ("stylize b_0030.png s.png b.png --save-every=30 --overwrite", "is read or written by the same run already"),
    (f"{NEW} --save-every=9 --plot=new_0009.png", "is read or written by the same run already"),
    # a run's own picture is replaced, not one of another run
    ("stylize c.png s.png done.png --weights=random --size=48 --iterations=9 --seed=4", "the file 'done.png' exists"),
    ("stylize c.png t.png done.png --weights=random --size=48 --iterations=9 --seed=3", "the file 'done.png' exists"),
    ("stylize t.png s.png done.png --weights=random --size=48 --iterations=9 --seed=3", "the file 'done.png' exists"),
    ("stylize c.png s.png done.png --weights=random --size=48 --iterations=8 --seed=3", "the file 'done.png' exists"),
    # going on
    (f"{ON} c.png", "CONTENT STYLE OUTPUT, or none of them"),
    (f"{ON} c.png s.png", "CONTENT STYLE OUTPUT, or none of them"),
    (f"{ON} --preset=fast", "--preset has no effect with --resume"),
    (f"{ON} --stages=24:4,48:9", "stages is None in the checkpoint"),
    (f"{ON} --start-size=half", "start_size is None in the checkpoint"),
    (f"{ON} --precision=bfloat16", "precision is float32 in the checkpoint"),
    (f"{ON} --strips=8", "strips is off in the checkpoint"),
    (f"{ON} --settings-from=done.png", "--settings-from has no effect with --resume"),
    (f"{ON} --seed=4", "seed is 3 in the checkpoint; a resumed run can change nothing but iterations"),
    (f"{ON} --size=40", "size is 48 in the checkpoint"),
    (f"{ON} --style-weight=1", "beta is 40.0 in the checkpoint"),
    (f"{ON} --optimizer=lbfgs", "optimizer is adam in the checkpoint"),
    (f"{ON} --style-layers=conv1_1", "style_layers is None in the checkpoint"),
    (f"{ON} --init=content", "init is noise in the checkpoint"),
    (f"{ON} --weights=auto", "weights is random in the checkpoint"),
    (f"{ON} --iterations=3", "the checkpoint is after 4 iterations, and 3 are asked for; ask for more"),
    (f"{ON} t.png s.png new.png", "the checkpoint is of another run: the content picture is another one"),
    (f"{ON} c.png t.png new.png", "the checkpoint is of another run: the style picture is another one"),
    (f"{ON} c.png s.png:2 new.png", "the checkpoint is of another run: the weights of the styles"),
    (f"{ON} --style-mask=mask.png", "the checkpoint is of another run: the mask is another one"),
    (f"{ON} --style=t.png", "the checkpoint is of another run"),
    (f"{ON} c.png s.png bare.png", "the file 'bare.png' exists"),
    (f"{ON} --checkpoint=text.txt", "the file 'text.txt' exists"),
    (f"{ON} --checkpoint=n.npz --history=done.npz", "'done.npz', is read or written by the same run already"),
    ("stylize --resume=missing.npz", "there is no checkpoint 'missing.npz' (looked in"),
    ("stylize --resume=d", "'d' is a folder; name a checkpoint in it"),
    ("stylize --resume=cut.npz", "'cut.npz' is not a checkpoint, or is damaged"),
    ("stylize --resume=empty.npz", "'empty.npz' is not a checkpoint, or is damaged"),
    ("stylize --resume=text.txt", "'text.txt' is not a checkpoint, or is damaged"),
    ("stylize --resume=done.png", "'done.png' is not a checkpoint, or is damaged"),
    ("stylize --resume=arrays.npz", "the checkpoint's run was not one of files; name CONTENT STYLE OUTPUT"),
    # repeating
    ("stylize --settings-from=done.png", "a run takes CONTENT STYLE, and OUTPUT if you like"),
    (f"{FROM}=missing.png", "there is no picture 'missing.png'"),
    (f"{FROM}=bare.png", "'bare.png' holds no settings; they are in pictures that `nst-graph stylize` wrote"),
    (f"{FROM}=text.txt", "'text.txt' is damaged or not a picture"),
    (f"{FROM}=broken.json", "'broken.json' does not hold the settings of a run"),
    (f"{FROM}=unknown.json", "there is no 'itterations'; did you mean iterations"),
    (f"{FROM}=wrong.json", "ALPHA must be a number of at least 0, not 'much'"),
    (f"{FROM}=nul.json", "'nul\\x00.png'"),
    (f"{FROM}=huge.json", "huge.json"),
    (f"{FROM}=start.npz", "no file"),
    (f"{FROM}=done.png --init=content --noise-ratio=0.5", "noise_ratio has no effect with another init"),
    # other subcommands
    ("show", "the following arguments are required: PICTURE"),
    ("show missing.png", "there is no picture 'missing.png'"),
    ("show bare.png", "'bare.png' holds no settings"),
    ("show text.txt", "'text.txt' is damaged or not a picture"),
    ("show cut.npz", "'cut.npz' is not a checkpoint, or is damaged"),
    ("show broken.json", "'broken.json' does not hold the settings of a run"),
    ("layers --size=0", "--size must be a whole number from 1 to 32766, not 0"),
    ("layers --pooling=mean", "--pooling must be one of avg, max, not 'mean'"),
    ("layers conv1_1", "unrecognized arguments: conv1_1"),
    ("mask c.png bare.png", "the file 'bare.png' exists"),
    ("mask missing.png new.png", "there is no picture 'missing.png'"),
    (f"{NEW} --style-scale=1e30 --enlarge", "style_scale 1e+30 makes a style picture of more than 32766 pixels"),
    (f"{NEW} --style-scale=50 --enlarge", "a style picture of 12000x20000 needs about 300.0 GB of memory, and "),
    # files
    (
        "figure new.png c.png s.png",
        "a figure takes three pictures for each row (content, style, generated), but it got 2",
    ),
    ("figure new.xyz c.png s.png t.png", "OpenCV cannot write 'new.xyz' at "),
    ("figure new.png wide.png c.png c.png", "more than 200 megapixels: name pictures that are less wide, or give a"),
    (f"{NEW} --history=", "argument --history: must be a name, not ''"),
    (f"{NEW} --log-dir=", "argument --log-dir: must be a name, not ''"),
    (f"{NEW} --checkpoint=", "argument --checkpoint: must be a name, not ''"),
    (f"{NEW} --history=/dev/null", "'/dev/null' is a device, a pipe or a socket, which a file would replace"),
    (
        "stylize c.png s.png new.png --weights=text.txt --history=text.txt --overwrite",
        "the file to write, 'text.txt', is read or written by the same run already",
    ),
    (f"{NEW} --log-dir=new.png", "the folder 'new.png' would be in the place of the run's file 'new.png'"),
    (f"{NEW} --log-dir=new.png/log", "the folder 'new.png/log' would be in the place of the run's file 'new.png'"),
    (f"{NEW} --history=n --checkpoint=n/x", "of 'n/x' and 'n' one is to be a file and the other a file in it"),
    (f"stylize c.png s.png {'n' * 248}.png --weights=random --save-every=9", "cannot be written: File name too long"),
    # hostile words
    (f"{NEW} --{LONG}", "unrecognized arguments: --aaaa"),
    (f"stylize {LONG} s.png new.png", "cannot be read: File name too long"),
    (f"stylize c.png s.png {LONG}.png", "File name too long"),
    (f"{NEW} --checkpoint={LONG}", "File name too long"),
    ("stylize a\nb s.png new.png", "there is no picture 'a\\nb'"),
    (f"{NEW} --seed=0x{LONG}", "--seed must be a whole number from 0 to 4294967295, not '0xaaaa"),
]


def write_runs(folder):
    """Write what a run with the seed 3 left after 4 of 9 iterations, and what looks like it and is not."""
    settings = Settings(
        content_img_path="c.png",
        style_img_path="s.png",
        generated_img_path="done.png",
        size=48,
        iterations=9,
        seed=3,
        weights="random",
    )
    image = np.zeros((1, 32, 48, 3), np.float32)
    adam = {"input_var/Adam": image, "input_var/Adam_1": image}
    adam.update({f"train/beta{number}_power": np.float32(1) for number in (1, 2)})
    record = record_of(settings, read_inputs("c.png", "s.png"), "2.21.0")
    metadata.write(noise(6, 32, 48), "done.png", to_text(record), metadata.Carried(b"", b""))
    write_checkpoint("done.npz", State(4, image, adam), record)
    entries = json.loads(to_text(record))
    (folder / "broken.json").write_text(to_text(record)[:-2])
    data = (folder / "done.npz").read_bytes()
    (folder / "cut.npz").write_bytes(data[: len(data) // 2])
    (folder / "empty.npz").write_bytes(b"")
    (folder / "text.txt").write_text("text")
    (folder / "d").mkdir()
    (folder / "b_0030.png").write_bytes((folder / "bare.png").read_bytes())

    picture = noise(7, 32, 48)
    write_checkpoint("arrays.npz", State(4, image, adam), record_of(settings, read_inputs(picture, picture), "2"))
    started = read_inputs("c.png", "s.png", picture)
    record = record_of(dataclasses.replace(settings, init=None), started, "2")
    write_checkpoint("start.npz", State(4, image, adam), record)

    for name, change in {
        "unknown": {"settings": {"itterations": 3}},
        "wrong": {"settings": {"alpha": "much"}},
        "nul": {"styles": [entries["styles"][0], {**entries["styles"][0], "file": "nul\0.png"}]},
        "huge": {"styles": [{**entries["styles"][0], "weight": 10**400}]},
    }.items():
        (folder / f"{name}.json").write_text(json.dumps({**entries, **change}))


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """Run all command lines of REFUSED in one process; return what came of each."""
    folder = write_inputs(tmp_path_factory.mktemp("refused"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_runs(folder)
    done = subprocess.run(
        [sys.executable, "-c", EXECUTOR],
        input=json.dumps([line.split(" ") for line, _ in REFUSED]),
        cwd=str(folder),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {line: result for (line, _), result in zip(REFUSED, json.loads(done.stdout))}


@pytest.mark.parametrize(("line", "message"), REFUSED, ids=lambda value: value[:60])
def test_wrong_use_is_one_line_and_status_2_before_tensorflow_is_imported(refused, line, message):
    status, errors, output, tensorflow, changed = refused[line]
    assert errors.startswith("nst-graph: error: ") and errors.count("\n") == 1, errors[-200:]
    assert message in errors and len(errors) < 400
    assert (status, output, tensorflow, changed) == (2, "", False, [])


@pytest.mark.parametrize(
    ("words", "fits"), [(["--size=2000,1500"], r"--size (\d+),\d+"), (["--size=2000", "--enlarge"], r"--size (\d+)")]
)
def test_too_little_memory_is_told_before_the_run(folder, monkeypatch, in_process, words, fits):
    words = [*words, "--strips=off"]
    monkeypatch.setattr(memory, "free", lambda: 1_790_000_000)
    cv2.imwrite("c.png", noise(1, 45, 60))
    line = ["stylize", "c.png", "s.png", "x.png", *words, *MORE]
    with pytest.raises(SettingError) as caught:
        main(line)
    match = re.match(
        rf"a run at 2000x1500 needs about ([\d.]+) GB of memory, and 1\.8 GB are free: {fits} would fit; "
        "--no-memory-check runs it all the same$",
        str(caught.value),
    )
    # The network's activations alone have 6 GB at this size.
    assert match and 6 < float(match.group(1)) < 60 and 50 <= int(match.group(2)) < 1000
    assert not (folder / "x.png").exists()
    monkeypatch.setattr(memory, "free", lambda: 0)
    with pytest.raises(SettingError, match="0 MB are free: no size would fit"):
        main(line)


def test_strips_are_taken_where_the_whole_does_not_fit(stylize, folder, monkeypatch):
    """And where they do not fit either, the line before the run says so."""
    monkeypatch.setattr(memory, "needed", lambda *args: 10**12)
    monkeypatch.setattr(memory, "free", lambda: memory.needed_in_strips((60, 40), 16))
    monkeypatch.setattr(transfer, "rows_for", lambda width: 16)
    lines, run = stylize("c.png", "s.png", "x.png", "--iterations=1", "--seed=1", *LAYERS)
    assert "stages: 60x40, 1 iterations in strips of 16 rows, adam, float32" in lines
    assert run.settings.strips == 16
    assert stored_record("x.png").settings["strips"] == 16
    monkeypatch.setattr(memory, "free", lambda: 0)
    with pytest.raises(SettingError, match="a run at 60x40 needs about .* and 0 MB are free: no size would fit"):
        main(["stylize", "c.png", "s.png", "y.png", *MORE])


# Stages and precision -----------------------------------------------------------------------------------------------


def test_stages_are_printed_before_the_run_and_can_be_spelled_out(stylize, folder, capsys):
    lines, run = stylize(
        "c.png", "s.png", "x.png", "--preset=fast", "--precision=float32", "--iterations=2", "--seed=1"
    )
    assert lines[0] == "stages: 30x20, 2 iterations; then 60x40, 2 iterations (--stages 30:2,60:2), lbfgs, float32"
    assert (run.iterations, run.content.shape) == (4, (40, 60, 3))
    stylize("c.png", "s.png", "y.png", "--stages=30:2,60:2", "--optimizer=lbfgs", "--seed=1")
    np.testing.assert_array_equal(read(folder, "x.png"), read(folder, "y.png"))
    settings = stored_record("x.png").settings
    assert settings == stored_record("y.png").settings and settings["stages"] == ((30, 2), (60, 2))


def test_what_is_said_of_size_and_iterations_holds_beside_a_pictures_stages(stylize, folder):
    stylize("c.png", "s.png", "x.png", "--stages=20:1,40:2", "--seed=1", *LAYERS)
    _, run = stylize("c.png", "s.png", "y.png", "--settings-from=x.png", "--iterations=1", "--overwrite")
    assert [size for size, _ in run.stages] == [(40, 27)]
    _, run = stylize("c.png", "s.png", "y.png", "--settings-from=x.png", "--overwrite")
    assert run.stages == (((20, 14), 1), ((40, 27), 2))


def test_a_run_of_stages_goes_on_where_it_was_stopped(stylize, folder):
    words = ["c.png", "s.png", "x.png", "--seed=1", "--optimizer=lbfgs", *LAYERS]
    stylize(*words, "--stages=30:3,60:4")
    expected = read(folder, "x.png")
    stylize(*words, "--stages=30:3,60:2", "--checkpoint=x.npz", "--overwrite")
    stylize("--resume=x.npz", "--stages=30:3,60:4")
    np.testing.assert_array_equal(read(folder, "x.png"), expected)


def test_bfloat16_is_refused_where_it_is_not_available(folder, monkeypatch, in_process):
    monkeypatch.setattr(precision, "not_available", lambda: "for a reason")
    with pytest.raises(SettingError, match="^precision bfloat16 is not available: for a reason; float32 always is"):
        main(["stylize", "c.png", "s.png", "x.png", "--precision=bfloat16", *MORE])
    assert not (folder / "x.png").exists()


def test_where_bfloat16_does_not_help_a_line_says_so(stylize, folder, monkeypatch):
    monkeypatch.setattr(precision, "not_available", lambda: "")
    monkeypatch.setattr(precision, "no_help", lambda: "for a reason")
    if get_runtime().name == "tf1":  # it has no rewriter: the run is in float32 then
        monkeypatch.setattr(get_runtime(), "session_config", lambda threads, bfloat16: get_runtime().tf.ConfigProto())
    lines, _ = stylize("c.png", "s.png", "x.png", "--precision=bfloat16", "--iterations=0", *LAYERS)
    assert "bfloat16 will not help: for a reason" in lines
    lines, _ = stylize("c.png", "s.png", "y.png", "--preset=fast", "--iterations=1", *LAYERS)
    assert lines[0].endswith("lbfgs, float32")


def test_threads_are_tensorflows(stylize, folder, monkeypatch):
    asked, session_config = [], get_runtime().session_config
    monkeypatch.setattr(get_runtime(), "session_config", lambda *args: asked.append(args) or session_config(*args))
    stylize("c.png", "s.png", "x.png", "--iterations=0", "--threads=1", *LAYERS)
    assert asked == [(1, False)]


# Sizes --------------------------------------------------------------------------------------------------------------


def averaged(picture, width, height):
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def cubic(picture, width, height):
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)


C, S = noise(1, 40, 60), noise(2, 50, 30)  # a landscape and a portrait


@pytest.mark.parametrize(
    ("content", "style", "constants", "content_seen", "style_seen"),
    [
        (S, C, {"size": 25}, averaged(S, 15, 25), averaged(C, 25, 17)),
        (S, C, {"size": 400}, S, averaged(C, 50, 33)),  # not larger than the content
        (C, S, {"size": 30, "style_scale": 0.5}, averaged(C, 30, 20), averaged(S, 9, 15)),
        (C, S, {"size": 30, "style_scale": 2}, averaged(C, 30, 20), S),
        (C, S, {"size": 90, "style_scale": 1.2, "enlarge": True}, cubic(C, 90, 60), cubic(S, 65, 108)),
        (C, S, {"size": (21, 44)}, cubic(C, 21, 44), cubic(S, 21, 44)),  # the article's
    ],
)
def test_sizes(python, content, style, constants, content_seen, style_seen):
    seen = Seen()
    picture = python(content, style, iterations=0, init="content", observers=[seen], **constants)
    assert_shows(seen.run.content, content_seen)
    assert_shows(seen.run.styles[0], style_seen)
    np.testing.assert_array_equal(picture, seen.run.content)


def test_the_commands_size_is_400_and_proportions_are_kept(stylize, folder):
    cv2.imwrite("wide.png", noise(1, 210, 840))
    _, run = stylize("wide.png", "s.png", "x.png", "--iterations=0", "--init=content", *LAYERS)
    assert_shows(read(folder, "x.png"), averaged(noise(1, 210, 840), 400, 100))
    assert_shows(run.styles[0], S)


# Layers -------------------------------------------------------------------------------------------------------------


def test_layers_may_be_named_in_any_way(stylize, folder):
    words = ["--size=32", "--seed=3", "--iterations=2"]
    indices = ["--content-layer-index=7", "--style-layer-indices=2,3,4", "--style-layer-coefficients=0.5,0.25,1"]
    stylize("c.png", "s.png", "a.png", *words, *indices)
    names = ["--content-layers=relu3_1", "--style-layers=block1_conv2:0.5,3:0.25,conv2_1:1"]
    _, run = stylize("c.png", "s.png", "b.png", *words, *names)
    np.testing.assert_array_equal(read(folder, "a.png"), read(folder, "b.png"))
    assert [name.layer for name in run.cost_names if name.layer] == ["block1_conv2", "block1_pool", "block2_conv1"]


def test_max_pools_need_no_layer_that_no_cost_uses(stylize, folder):
    """12x10 pixels are enough for conv2_1, though not for the five pools of the whole network."""
    _, run = stylize("tiny.png", "s.png", "x.png", "--pooling=max", "--iterations=1", "--size=12", *LAYERS)
    assert run.content.shape == (10, 12, 3)


#: Of each block: convolutions, channels.
BLOCKS = [(2, 64), (2, 128), (4, 256), (4, 512), (4, 512)]


@pytest.mark.parametrize(
    ("words", "shown", "sizes"),
    [
        # The sizes before the first pool and after each.
        ([], "400x300", ["400x300", "200x150", "100x75", "50x38", "25x19", "13x10"]),
        (["--pooling=max"], "400x300", ["400x300", "200x150", "100x75", "50x37", "25x18", "12x9"]),
        (["--size=37,27"], "37x27", ["37x27", "19x14", "10x7", "5x4", "3x2", "2x1"]),
        (["--size=37,27", "--pooling=max"], "37x27", ["37x27", "18x13", "9x6", "4x3", "2x1", "1x0"]),
        (["--size=1000"], "1000x750", ["1000x750", "500x375", "250x188", "125x94", "63x47", "32x24"]),
    ],
)
def test_layers_are_listed(capsys, in_process, words, shown, sizes):
    main(["layers", *words])
    head, *lines = capsys.readouterr().out.splitlines()
    assert re.split("  +", head) == ["index", "layer", "other names", "channels", f"at {shown}", "default"]
    expected = []
    for block, (convolutions, channels) in enumerate(BLOCKS, start=1):
        for i in range(1, convolutions + 1):
            names = [f"block{block}_conv{i}", f"conv{block}_{i}, relu{block}_{i}"]
            expected.append([*names, str(channels), sizes[block - 1]])
        expected.append([f"block{block}_pool", f"pool{block}", str(channels), sizes[block]])
    default = {1: "style", 4: "style", 7: "style", 12: "style", 13: "content", 17: "style"}
    assert len(lines) == 21
    for index, (line, layer) in enumerate(zip(lines, expected), start=1):
        assert re.split("  +", line.strip()) == [str(index), *layer, *([default[index]] if index in default else [])]
        assert line == line.rstrip()


# Start --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "start"),
    [
        (["--init=style", "--size=30"], averaged(S, 30, 20)),
        (["--init=tiny.png", "--size=30"], cubic(noise(4, 10, 12), 30, 20)),
        (["--init=t.png", "--size=21,24"], cubic(noise(3, 33, 44), 21, 24)),  # the article's
    ],
)
def test_starts_from_a_picture(stylize, folder, words, start):
    lines, _ = stylize("c.png", "s.png", "x.bmp", "--iterations=0", *words, *LAYERS)
    assert_shows(read(folder, "x.bmp"), start)
    assert "a file of this format cannot hold the settings; a .png or .jpg can" in lines


def test_starts_from_a_picture_in_python(python):
    found = python(C, S, init=noise(3, 33, 44), size=30, iterations=0)
    assert_shows(found, averaged(noise(3, 33, 44), 30, 20))


def announced(lines):
    """Return the one line that says what the run takes."""
    (line,) = [line for line in lines if " iterations of " in line]
    return line


def test_the_line_before_a_run_has_all_that_repeats_it(stylize, folder):
    words = ["--size=32", "--iterations=3", *LAYERS]
    line = announced(stylize("c.png", "s.png", "a.png", *words)[0])
    match = re.match(r"32x21, 3 iterations of adam, about 1 s, (\d\.\d GB|\d+ MB) of memory, seed (\d+)$", line)
    assert match
    seed = int(match.group(2))
    assert stored_record("a.png").settings["seed"] == seed
    again, _ = stylize("c.png", "s.png", "b.png", *words, f"--seed={seed}")
    assert announced(again).endswith(f", seed {seed}")
    np.testing.assert_array_equal(read(folder, "a.png"), read(folder, "b.png"))


def test_noise_is_mixed_with_the_content(stylize, folder, monkeypatch):
    words = ["--size=32", "--iterations=0", "--noise-ratio=0.25", "--seed=5", "--no-memory-check", *LAYERS]
    monkeypatch.setattr(memory, "free", lambda: 0)
    lines, _ = stylize("c.png", "s.png", "x.png", *words)
    means = np.array([103.939, 116.779, 123.68])
    uniform = np.random.RandomState(5).uniform(-20, 20, (1, 21, 32, 3))[0]
    mixed = 0.25 * uniform + 0.75 * (averaged(C, 32, 21) - means) + means
    np.testing.assert_allclose(read(folder, "x.png"), np.floor(np.clip(mixed, 0, 255)), atol=1)
    assert re.match(r"32x21, 0 iterations of adam, (\d\.\d GB|\d+ MB) of memory, seed 5$", announced(lines))


# Styles -------------------------------------------------------------------------------------------------------------


def test_several_styles_with_masks_and_pictures_on_the_way(stylize, python, folder):
    tiny = noise(4, 10, 12)
    (folder / "u.png:2").write_bytes((folder / "tiny.png").read_bytes())
    styles = ["--style=t.png:3", "--style=u.png:2", "--style-mask=mask.png", "--style-mask=all", "--style-mask=all"]
    rest = ["--size=32", "--seed=3", "--iterations=4"]
    stylize("c.png", "s.png:0.5", "x.png", *styles, *rest, "--save-every=2", *LAYERS)

    seen = Seen(every=1)
    arrays = [Style(S, 0.5, "mask.png"), Style(noise(3, 33, 44), 3), Style(tiny)]
    picture = python(C, arrays, size=32, seed=3, iterations=4, observers=[seen])
    np.testing.assert_array_equal(read(folder, "x.png"), picture)
    assert sorted(path.name for path in folder.glob("x_*")) == ["x_0000.png", "x_0002.png", "x_0003.png"]
    for iteration in (0, 2, 3):
        np.testing.assert_array_equal(read(folder, f"x_{iteration:04d}.png"), seen.pictures[iteration])
    assert len({picture.tobytes() for picture in seen.pictures.values()}) == 4

    record = stored_record("x.png")
    assert [style.path for style in record.styles] == ["s.png", "t.png", "u.png:2"]
    assert record.weights == (0.5, 3.0, 1.0)
    assert [mask and mask.path for mask in record.masks] == ["mask.png", None, None]
    assert stored_record("x_0002.png") == record


# Colours ------------------------------------------------------------------------------------------------------------


def ycbcr(picture):
    """Return Y, Cb and Cr of ITU-R BT.601, full range (JFIF 1.02)."""
    blue, green, red = np.moveaxis(picture.astype(np.float64), 2, 0)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    return y, 128 + (blue - y) / 1.772, 128 + (red - y) / 1.402


def test_luminance_keeps_the_contents_chroma(stylize, folder):
    words = ["--size=32", "--seed=3", "--iterations=2", *LAYERS]
    stylize("c.png", "s.png", "plain.png", *words)
    stylize("c.png", "s.png", "x.png", *words, "--preserve-colors=luminance", "--save-every=1")
    _, *chroma = ycbcr(averaged(C, 32, 21))
    plain, *plain_chroma = ycbcr(read(folder, "plain.png"))
    assert np.abs(np.subtract(plain_chroma, chroma)).max() > 5
    for name in ("x.png", "x_0000.png", "x_0001.png"):
        y, *found = ycbcr(read(folder, name))
        assert np.abs(np.subtract(found, chroma)).max() <= 1
    picture = read(folder, "x.png")
    y, *_ = ycbcr(picture)
    fits = (picture.min(axis=2) > 0) & (picture.max(axis=2) < 255)
    assert fits.mean() > 0.5
    assert np.abs(y - plain)[fits].max() <= 0.51


def statistics(picture):
    colours = np.asarray(picture, np.float64).reshape(-1, 3)
    return colours.mean(axis=0), np.cov(colours.T, bias=True)


def test_statistics_gives_the_style_the_contents_colours(stylize, folder, monkeypatch):
    given = []
    monkeypatch.setattr(
        Objective,
        "style_target",
        lambda self, img, target=Objective.style_target: given.append(img) or target(self, img),
    )
    stylize("c.png", "s.png", "x.png", "--size=30", "--iterations=0", "--preserve-colors=statistics", *LAYERS)
    (style,) = given
    assert style.shape == (1, 30, 18, 3)
    mean, covariance = statistics(style + np.array([103.939, 116.779, 123.68]))
    content_mean, content_covariance = statistics(averaged(C, 30, 20))
    np.testing.assert_allclose(mean, content_mean, rtol=1e-3)
    np.testing.assert_allclose(covariance, content_covariance, rtol=1e-3, atol=1e-3 * content_covariance.max())
    # It is still the style: the same picture, but for its colours.
    plain = averaged(S, 18, 30).astype(np.float64).reshape(-1, 3)
    rebuilt, *_ = np.linalg.lstsq(np.c_[plain, np.ones(len(plain))], style.reshape(-1, 3), rcond=None)
    np.testing.assert_allclose(np.c_[plain, np.ones(len(plain))] @ rebuilt, style.reshape(-1, 3), atol=0.01)


# Repeating ----------------------------------------------------------------------------------------------------------


def show(capsys, path):
    capsys.readouterr()
    main(["show", path])
    return capsys.readouterr().out


def test_a_run_is_repeated_from_its_own_picture(stylize, folder, capsys):
    stylize(
        *["c.png", "s.png:0.5", "x.png", "--size=48", "--style-scale=0.9", "--iterations=3", "--init=style"],
        *["--pooling=max", "--tv-weight=0.5", "--optimizer=lbfgs", "--style=t.png", "--style-mask=mask.png"],
        *["--style-mask=all", "--preserve-colors=statistics", "--save-every=1", *LAYERS],
    )
    picture = read(folder, "x.png")
    text = show(capsys, "x.png")
    entries = json.loads(text)
    assert entries["nst_graph"] == nst_graph.__version__
    assert entries["content"]["sha256"] == hashlib.sha256((folder / "c.png").read_bytes()).hexdigest()
    assert entries["settings"]["seed"] is not None

    # From a .png to a .jpg, and from that to the first file, which is the same run's.
    stylize("c.png", "s.png", "y.jpg", "--settings-from=x.png")
    _, data = cv2.imencode(".jpg", picture)
    np.testing.assert_array_equal(read(folder, "y.jpg"), cv2.imdecode(data, cv2.IMREAD_COLOR))
    before = (folder / "x.png").stat().st_mtime_ns
    stylize("c.png", "s.png", "x.png", "--settings-from=y.jpg")
    assert (folder / "x.png").stat().st_mtime_ns != before
    np.testing.assert_array_equal(read(folder, "x.png"), picture)
    assert show(capsys, "x.png") == text

    # From text; an option holds before what is stored.
    (folder / "settings.json").write_text(text, encoding="utf-8")
    assert show(capsys, "settings.json") == text
    stylize("c.png", "s.png", "z.png", "--settings-from=settings.json", "--iterations=1")
    np.testing.assert_array_equal(read(folder, "z.png"), read(folder, "x_0000.png"))
    assert (read(folder, "z.png") != picture).any()
    assert stored_record("z.png").difference_from(stored_record("x.png")) == "iterations is 1 here and 3 there"


def test_settings_of_a_run_on_arrays_hold_for_files_that_are_named(stylize, python, folder):
    picture = python(C, S, size=32, seed=3, iterations=2, checkpoint="run.npz")
    stylize("c.png", "s.png", "x.png", "--settings-from=run.npz", "--weights=random")
    np.testing.assert_array_equal(read(folder, "x.png"), picture)


def test_what_the_contents_file_carries_goes_into_the_picture_unless_it_must_not(stylize, folder, capsys):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    tags = Image.Exif()
    tags[0x013B], tags[0x0112] = "An Artist", 6  # stored turned by 90 degrees
    Image.fromarray(C[:, :, ::-1]).save("photo.jpg", exif=tags, icc_profile=profile)
    words = ["--size=30", "--iterations=0", "--init=content", *LAYERS]
    stylize("photo.jpg", "s.png", "x.png", *words)
    with Image.open("x.png") as written:
        assert written.size == (20, 30)
        assert written.getexif()[0x013B] == "An Artist" and 0x0112 not in written.getexif()
        assert written.info["icc_profile"] == profile

    (folder / "costs.csv").write_text("another run's\n")
    replacing = ["--overwrite", "--history=costs.csv", "--iterations=1"]
    stylize("photo.jpg", "s.png", "bare.png", *words, *replacing, "--no-metadata")
    with Image.open("bare.png") as written:
        assert written.size == (20, 30) and written.info == {} and not written.getexif()
    with (folder / "costs.csv").open(newline="") as file:
        assert [row["iteration"] for row in csv.DictReader(file)] == ["0"]
    with pytest.raises(SettingError, match="'bare.png' holds no settings"):
        main(["show", "bare.png"])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such file names")
def test_a_file_name_that_is_not_utf_8_does_no_harm(stylize, folder, capsys):
    name = "caf\udce9.png"
    (folder / name).write_bytes((folder / "c.png").read_bytes())
    stylize(name, "s.png", "x.png", "--size=30", "--iterations=1", "--checkpoint=run.npz", *LAYERS)
    assert stored_record("x.png").content.path == stored_record("run.npz").content.path == name
    assert json.loads(show(capsys, "x.png"))["content"]["file"] == name
