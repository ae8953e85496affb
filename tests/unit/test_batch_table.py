"""The table of a batch, written and read back."""

import csv
import os

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from nst_graph.batch_table import BatchTable, Outcome, planned_record, record_of_row, row_of
from nst_graph.errors import OutputError, SettingError
from nst_graph.inputs import Style
from nst_graph.record import NAMES, File, Record
from nst_graph.settings import Settings
from nst_graph.vgg19 import LAYER_INDICES
from nst_graph.worklist import RESULT_COLUMNS, Item, read_pairs

DONE = Outcome(40, 30, 7, 1.5, 0.1 + 0.2, 1e9, 2.0, None, "tcp://127.0.0.1:40000")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    return tmp_path


def record(output="out/cat_night.bmp", styles=("night.png",), masks=None, **constants):
    settings = Settings(**{"size": 48, "seed": 3, "weights": "random", **constants})
    return Record(
        settings={name: getattr(settings, name) for name in NAMES},
        content=File("in/cat.png", "c0"),
        styles=tuple(File(style, f"a{number}") for number, style in enumerate(styles)),
        weights=(1.0, 2.0, 0.1)[: len(styles)],
        masks=tuple(masks or [None] * len(styles)),
        init=File(settings.init, "i0") if settings.init != "noise" else None,
        output=output,
        versions={"nst_graph": "0.1", "TensorFlow": "2.21.0"},
    )


def written(*rows, path="out/batch.csv"):
    """Write rows, which are records or pairs of record and outcome, and return the file's bytes."""
    rows = [row if type(row) is tuple else (row, DONE) for row in rows]
    table = BatchTable(path)
    table.begin([row[0].output for row in rows])
    for row in rows:
        table.add(*row)
    table.close()
    return content(path)


def content(path="out/batch.csv"):
    with open(path, "rb") as file:
        return file.read()


def rows_of(data):
    header, *rows = csv.reader(data.decode().splitlines())
    return header, rows


def test_a_row_has_settings_results_and_hashes():
    header, (row,) = rows_of(written(record(alpha=1 / 3, style_layers="conv1_1:0.1,pool2:0.7", enlarge=True)))
    assert header[:4] == ["content", "style", "output", "size"] and header[-len(RESULT_COLUMNS) :] == [*RESULT_COLUMNS]
    assert {name: cell for name, cell in zip(header, row) if cell} == {
        "content": "in/cat.png",
        "style": "night.png",
        "output": "cat_night.bmp",
        "size": "48",
        "enlarge": "True",
        "alpha": "0.3333333333333333",
        "style-layers": "block1_conv1:0.1,block2_pool:0.7",
        "strips": "off",
        "seed": "3",
        "weights": "random",
        "width": "40",
        "height": "30",
        "iterations_done": "7",
        "seconds": "1.5",
        "total_cost": "0.30000000000000004",
        "content_cost": "1000000000.0",
        "style_cost": "2.0",
        "worker": "tcp://127.0.0.1:40000",
        "versions": "nst_graph 0.1, TensorFlow 2.21.0",
        "sha256": "c0 a0 - -",
    }
    assert {"tv-weight", "iterations", "stages"} < set(header)


def test_the_results_are_the_columns_that_a_table_of_pairs_may_have():
    assert set(RESULT_COLUMNS) == {*Outcome._fields, "versions", "sha256"} and RESULT_COLUMNS[-1] == "error"


def test_several_styles_and_masks_have_columns_of_their_own():
    masks = [None, File("all", "m1"), File("m.png", "m2")]
    header, (first, second) = rows_of(
        written(record("out/1.bmp"), record("out/2.bmp", ("a.png", "b:2.png", "c.png"), masks))
    )
    assert header[:8] == ["content", "style", "style", "style", "style-mask", "style-mask", "style-mask", "output"]
    assert first[1:8] == ["night.png", "", "", "", "", "", "1.bmp"]
    assert second[1:8] == ["a.png", "b:2.png:2.0", "c.png:0.1", "all", "./all", "m.png", "2.bmp"]
    assert second[header.index("sha256")] == "c0 a0 a1 a2 - m1 m2 -"


paths = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), min_size=1, max_size=6)
paths |= st.text(st.sampled_from(list("=+-@./:,\"\r\n\t 'aN1\udcff")), min_size=1, max_size=6)
paths |= st.sampled_from(["None", "./None", "all", "././=x", "a:1", "true", "1,2", " x "])
hashes = st.text("0123456789abcdef", min_size=1, max_size=4)
files = st.builds(File, paths | st.none(), hashes)
numbers = st.floats(0, 1e30)
layers = st.lists(st.sampled_from(LAYER_INDICES), min_size=1, max_size=4, unique=True)


def with_stages(constants):
    sides = sorted({48, *constants.pop("sides")})
    return {**constants, "stages": [[side, 3] for side in sides], "size": sides[-1]}


constants = st.fixed_dictionaries(
    {
        "size": st.integers(1, 3000) | st.tuples(st.integers(1, 99), st.integers(1, 99)),
        "alpha": numbers.filter(bool),
        "beta": numbers.filter(bool),
        "tv_weight": numbers,
        "content_layers": st.none() | layers.map(lambda found: [[layer, 0.1 * layer] for layer in found]),
        "style_layers": st.none() | layers,
        "pooling": st.sampled_from(["avg", "max"]),
        "iterations": st.integers(0, 2**32 - 1),
        "start_size": st.none() | st.just("half") | st.integers(1, 99),
        "precision": st.sampled_from(["float32", "bfloat16", "auto"]),
        "strips": st.sampled_from(["off", "auto"]) | st.integers(2, 99),
        "preserve_colors": st.sampled_from(["none", "luminance", "statistics"]),
        "vgg_imagenet_means": st.just((103.939, 116.779, 123.68)) | st.tuples(*[st.floats(-300, 300)] * 3),
        "seed": st.none() | st.integers(0, 2**32 - 1),
        "weights": st.none() | paths,
        "init": st.just("noise") | st.none() | paths,
    }
)
constants |= st.fixed_dictionaries(
    {"sides": st.lists(st.integers(1, 99), max_size=3), "optimizer": st.just("lbfgs"), "seed": st.integers(0, 99)}
).map(with_stages)
constants |= st.fixed_dictionaries(
    {
        "size": st.just(48),
        "enlarge": st.booleans(),
        "style_scale": st.floats(0.1, 9),
        "noise_ratio": st.floats(0, 1),
        "learning_rate": st.floats(1e-9, 9),
        "content_layer_index": st.sampled_from(LAYER_INDICES),
        "style_layer_indices": layers,
    }
).map(lambda found: {**found, "style_layer_coefficients": [0.1 * index for index in found["style_layer_indices"]]})


@st.composite
def records(draw):
    settings = Settings(**draw(constants))
    styles = draw(
        st.lists(st.tuples(files, st.floats(1e-9, 1e9) | st.just(1.0), st.none() | files), min_size=1, max_size=3)
    )
    return Record(
        settings={name: getattr(settings, name) for name in NAMES},
        content=draw(files),
        styles=tuple(style for style, _, _ in styles),
        weights=tuple(weight for _, weight, _ in styles),
        masks=tuple(mask for _, _, mask in styles),
        init=File(settings.init, draw(hashes)) if draw(st.booleans()) else None,
        output="out/x.bmp",
        versions={"nst_graph": "0.1.dev2+local", "TensorFlow": "2.21.0"},
    )


@hypothesis_settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(records(), min_size=1, max_size=2))
def test_what_made_a_picture_is_read_again(made):
    made = [one._replace(output=f"out/{number}.bmp") for number, one in enumerate(made)]
    if os.path.exists("out/batch.csv"):
        os.remove("out/batch.csv")
    written(*made)
    table = BatchTable("out/batch.csv")
    for number, one in enumerate(made):
        again = table.record(f"./out/{number}.bmp")
        assert again == one._replace(output=f"{number}.bmp")
        assert again.difference_from(one) == one.difference_from(again) == ""


def test_a_difference_is_seen():
    written(record(init="start.png", masks=[File("m", "m0")]))
    found = BatchTable("out/batch.csv").record("out/cat_night.bmp")
    same = {"init": "start.png", "masks": [File("m", "m0")]}
    assert record(**same).difference_from(found) == ""
    for change, difference in (
        ({"alpha": 9.0}, "alpha is 9.0 here and 10.0 there"),
        ({"strips": 16}, "strips is 16 here and off there"),
        ({"init": "other.png"}, "init is"),
        ({"masks": [File("m", "m1")]}, "the mask is another one"),
        ({"masks": [None]}, "the mask is another one"),
    ):
        assert record(**{**same, **change}).difference_from(found).startswith(difference)


def test_a_table_is_a_table_of_pairs():
    one = record("out/x/1.bmp", ("a.png", "b.png"), [None, File("m.png", "m1")], alpha=3.0, init="=1.png")
    two = record("/else/2.bmp", size=(40, 30), stages=None, preserve_colors="luminance")
    written(one, (two, Outcome(error="no memory")))
    items = read_pairs("out/batch.csv")
    assert [(item.content, item.output) for item in items] == [("in/cat.png", "x/1.bmp"), ("in/cat.png", "/else/2.bmp")]
    assert items[0].styles == (Style("a.png"), Style("b.png", 2.0, "m.png"))
    for item, made in zip(items, (one, two)):
        settings = Settings(**{**item.given, "init": item.given.get("init", "noise").replace("./", "")})
        assert {name: getattr(settings, name) for name in NAMES} == made.settings
        assert {"size", "strips", "seed"} <= set(item.given)  # what has another default in the command, or none


class TestRows:
    def test_a_picture_that_failed_has_a_row_and_no_record(self):
        item = Item("in/a.png", (Style("b.png", 2.0, "m.png"),))
        planned = planned_record(item, Settings(size=48, generated_img_path="out/a.bmp", init="x.png"))
        data = written((planned, Outcome(error="=there is\nno picture")))
        header, (row,) = rows_of(data)
        cells = dict(zip(header, row))
        assert cells["error"] == " =there is\\nno picture" and cells["sha256"] == "- - - -"
        assert (cells["content"], cells["style"], cells["style-mask"]) == ("in/a.png", "b.png:2.0", "m.png")
        table = BatchTable("out/batch.csv")
        assert table.record("out/a.bmp") is None and table.row("out/a.bmp")["init"] == ["x.png"]

    @pytest.mark.parametrize(
        ("column", "cell", "message"),
        [
            ("error", "out of memory", "the picture was not made"),
            ("sha256", "c0 a0 -", "the row has not the SHA-256 of all pictures, but 'c0 a0 -'"),
            ("sha256", "c0 - - -", "the row has not the SHA-256"),
            ("sha256", "", "the row has not the SHA-256"),
            ("style", "", "the row has not the SHA-256"),
            ("style", "a:b", "the style 'a:b' has no weight"),
            ("alpha", "x", "--alpha must be"),
            ("vgg-imagenet-means", "1,2", "VGG_IMAGENET_MEANS must be"),
            ("pooling", "None", "POOLING must be"),
            ("stages", "1:2", "STAGES must end with the longest side"),
        ],
    )
    def test_a_row_that_says_no_picture(self, column, cell, message):
        row = {**row_of(record(), DONE), column: [cell]}
        with pytest.raises(SettingError, match=message):
            record_of_row(row)

    def test_paths_that_spreadsheets_would_run_are_the_same_files(self):
        one = record("out/=1.bmp", ("-a.png",), init="@x.png", weights="+w.h5")
        _, (row,) = rows_of(written(one))
        assert not [cell for cell in row if cell[:1] in ("=", "+", "-", "@")]
        assert row[:3] == ["in/cat.png", "./-a.png", "./=1.bmp"]
        assert BatchTable("out/batch.csv").record("out/=1.bmp") == one._replace(output="=1.bmp")


class TestFile:
    def test_each_row_is_there_when_its_picture_is_done(self):
        table = BatchTable("out/batch.csv")
        outputs = [f"out/{number}.png" for number in range(3)]
        table.begin(outputs)
        inodes = set()
        for number, output in enumerate(outputs):
            table.add(record(output), DONE)
            with open("out/batch.csv") as file:
                assert len(file.readlines()) == number + 2
            inodes.add(os.stat("out/batch.csv").st_ino)
        assert len(inodes) == 1  # it was not written whole again
        assert os.listdir("out") == ["batch.csv"]

    def test_rows_of_other_pictures_stay_and_those_to_be_made_go(self):
        written(record("out/1.png"), record("out/2.png"), record("out/3.png"))
        table = BatchTable("out/batch.csv")
        assert table.record("out/2.png") is not None and table.record("out/9.png") is None
        table.begin(["out/2.png", "out/9.png"])
        assert BatchTable("out/batch.csv").record("out/2.png") is None
        table.add(record("out/2.png", seed=5, styles=("a.png", "b.png")), DONE)
        header, rows = rows_of(content())
        assert [row[header.index("output")] for row in rows] == ["1.png", "3.png", "2.png"]
        assert all(len(row) == len(header) for row in rows)
        table.add(record("out/2.png", seed=6), DONE)
        assert len(rows_of(content())[1]) == 3
        again = BatchTable("out/batch.csv")
        assert again.record("out/2.png").settings["seed"] == 6 and again.record("out/1.png") is not None

    def test_the_folder_may_be_called_otherwise_and_be_moved(self):
        written(record("out/x/1.png"))
        os.rename("out", "moved")
        os.symlink("moved", "link")
        assert BatchTable("link/batch.csv").record("moved/x/1.png") is not None

    def test_in_the_working_folder(self):
        written(record("1.png"), path="batch.csv")
        assert BatchTable("batch.csv").record(os.path.abspath("1.png")) is not None

    @pytest.mark.parametrize("length", [1, 2, 20, 100, 150])
    def test_a_row_that_was_cut_is_left_out(self, length, caplog):
        data = written(record("out/1.png"), record("out/2.png", styles=('"\n",', "b")))
        with open("out/batch.csv", "wb") as file:
            file.write(data[:-length])
        table = BatchTable("out/batch.csv")
        assert table.record("out/1.png") is not None and table.record("out/2.png") is None
        assert [found.getMessage() for found in caplog.records] == [
            "rows of 'out/batch.csv' that cannot be read: 1; their pictures may be made again"
        ]
        table.begin(["out/2.png"])
        table.add(record("out/2.png"), DONE)
        assert len(caplog.records) == 1 and len(read_pairs("out/batch.csv")) == 2

    def test_a_table_that_is_cut_is_no_table_of_pairs(self):
        data = written(record("out/1.png"), record("out/2.png"))
        with open("out/batch.csv", "wb") as file:
            file.write(data[:-100])
        with pytest.raises(SettingError, match="line 3 of 'out/batch.csv' is cut"):
            read_pairs("out/batch.csv")

    @pytest.mark.parametrize(
        "damage",
        [b"\0\0\0\n", b"\n\n", b",,,\n", b"a.png,b.png,3.png\n", b'"a"b,\n', b"\xff\xfe\n", b"x" * 200_000 + b"\n"],
        ids=range(7),
    )
    def test_rows_that_cannot_be_read_are_left_out(self, damage):
        header, first, second = written(record("out/1.png"), record("out/2.png")).splitlines(True)
        with open("out/batch.csv", "wb") as file:
            file.write(header + damage + first + damage + second)
        table = BatchTable("out/batch.csv")
        assert table.record("out/1.png") is not None and table.record("out/2.png") is not None
        table.begin([])
        assert content() == header + first + second

    def test_a_table_from_a_spreadsheet_is_read(self):
        data = written(record("out/1.png"))
        with open("out/batch.csv", "wb") as file:
            file.write(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"))
        assert BatchTable("out/batch.csv").record("out/1.png") is not None

    @pytest.mark.parametrize(
        "data", [b"name,age\na,3\n", b"\0", b"\x89PNG\r\n\x1a\n", b"content,style,output\na,b,c\n"]
    )
    def test_what_no_batch_has_written_is_not_touched(self, data):
        with open("out/batch.csv", "wb") as file:
            file.write(data)
        with pytest.raises(OutputError, match="'out/batch.csv' is no table that a batch has written; move the file"):
            BatchTable("out/batch.csv")
        assert content() == data

    def test_an_empty_file_and_a_folder(self):
        open("out/batch.csv", "w").close()
        BatchTable("out/batch.csv")
        with pytest.raises(OutputError, match="'out' is a folder"):
            BatchTable("out")

    def test_where_it_can_never_be_written_an_error_comes_first(self):
        open("file", "w").close()
        table = BatchTable("file/batch.csv")
        with pytest.raises(OutputError, match="cannot be written in"):
            table.begin(["file/1.png"])

    def test_rows_that_could_not_be_written_come_later(self, caplog):
        table = BatchTable("out/batch.csv")
        table.begin([f"out/{number}.png" for number in range(4)])
        os.remove("out/batch.csv")
        os.rmdir("out")
        for number in range(2):
            table.add(record(f"out/{number}.png"), DONE)
        os.mkdir("out")
        table.add(record("out/2.png"), DONE)
        os.remove("out/batch.csv")
        os.rmdir("out")
        table.add(record("out/3.png"), DONE)
        table.close()
        assert [found.getMessage().rpartition("; ")[2] for found in caplog.records] == [
            "the run goes on and tries again",
            "the table 'out/batch.csv' can be written again",
            "the run goes on and tries again",
            "a second call makes those again",
        ]
        os.mkdir("out")
        table.close()
        again = BatchTable("out/batch.csv")
        assert all(again.record(f"out/{number}.png") for number in range(4))

    def test_a_file_that_somebody_removed_is_written_whole(self):
        written(record("out/1.png"))
        table = BatchTable("out/batch.csv")
        table.begin(["out/2.png", "out/3.png"])
        table.add(record("out/2.png"), DONE)
        os.remove("out/batch.csv")
        table.add(record("out/3.png"), DONE)
        again = BatchTable("out/batch.csv")
        assert all(again.record(f"out/{number}.png") for number in (1, 2, 3))

    def test_two_processes_do_not_lose_each_others_rows(self):
        one, other = BatchTable("out/batch.csv"), BatchTable("out/batch.csv")
        one.begin([f"out/a{number}.png" for number in range(3)])
        other.begin([f"out/b{number}.png" for number in range(3)])
        for number in range(3):
            one.add(record(f"out/a{number}.png"), DONE)
            other.add(record(f"out/b{number}.png", styles=("a.png", "b.png")), DONE)
        again = BatchTable("out/batch.csv")
        assert all(again.record(f"out/{name}{number}.png") for name in "ab" for number in range(3))
        # What the other one makes anew has no row until it is done.
        other.begin(["out/b0.png", "out/b2.png"])
        one.add(record("out/a3.png"), DONE)
        again = BatchTable("out/batch.csv")
        assert again.record("out/b0.png") is None and again.record("out/b1.png") and again.record("out/a3.png")

    @pytest.mark.skipif(os.name != "posix", reason="names of bytes are those of POSIX")
    def test_names_that_are_not_utf8_survive(self):
        open(b"caf\xe9.png", "w").close()
        one = record("out/caf\udce9.bmp", styles=("caf\udce9.png",))
        assert b"\ncaf" not in written(one) and b"caf\xe9.png" in written(one)
        assert BatchTable("out/batch.csv").record("out/caf\udce9.bmp") == one._replace(output="caf\udce9.bmp")
        assert read_pairs("out/batch.csv")[0].output == "caf\udce9.bmp"
