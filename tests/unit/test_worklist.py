"""Which pictures a batch makes, and what they are called. No picture is read: the files here are empty."""

import os

import pytest

from nst_graph import worklist
from nst_graph.errors import OutputError, PictureError, SettingError
from nst_graph.inputs import Style
from nst_graph.settings import Settings
from nst_graph.worklist import Item, check_distinct, crossed, output_of, read_pairs

NAME = "{content}_{style}.png"

links = pytest.mark.skipif(os.name != "posix", reason="links and names of bytes are those of POSIX")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*paths):
    for path in paths:
        folder = os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        with open(path, "wb"):
            pass


def contents(*words, output="out"):
    make("style.png")
    return [(item.content, item.subfolder) for item in crossed(words, ["style.png"], None, output)]


class TestFilesFoldersAndPatterns:
    def test_every_content_with_every_style_content_after_content(self):
        make("a.png", "b.jpg", "s/x.png", "s/deep/y.png")
        items = crossed(["b.jpg", "a.png"], ["s"], "m.png")
        assert [(item.content, item.styles) for item in items] == [
            (content, (Style(style, 1.0, "m.png"),))
            for content in ("b.jpg", "a.png")
            for style in ("s/x.png", "s/deep/y.png")
        ]
        assert {(item.subfolder, item.output, item.place) for item in items} == {("", None, "")}
        assert crossed(["a.png"], ["s/x.png"], "all")[0].styles[0].mask is None

    def test_a_folder_is_walked_in_order_and_its_subfolders_are_kept(self):
        make("p/b.PNG", "p/a.jpeg", "p/z/c.tif", "p/y/deep/d.webp", "p/notes.txt", "p/.hidden.png", "p/.trash/e.png")
        expected = [("p/a.jpeg", ""), ("p/b.PNG", ""), ("p/y/deep/d.webp", "y/deep"), ("p/z/c.tif", "z")]
        assert contents("p") == contents("p/") == expected

    def test_a_file_that_is_named_may_be_called_anything(self):
        make("scan", ".x.png", "p/[1].png")
        assert contents("scan", ".x.png", "p/[1].png") == [("scan", ""), (".x.png", ""), ("p/[1].png", "")]

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("p/*.png", [("p/a.png", ""), ("p/b.png", "")]),
            ("./p/[ab].png", [("p/a.png", ""), ("p/b.png", "")]),
            ("p/?.jpg", [("p/c.jpg", "")]),
            ("p/*/*.png", [("p/x/a.png", "x")]),
            ("*/x/a.png", [("p/x/a.png", "p/x")]),
            ("p/*/y/*", [("p/x/y/d.png", "x/y")]),
            ("p/**/*.png", [("p/a.png", ""), ("p/b.png", ""), ("p/x/a.png", "x"), ("p/x/y/d.png", "x/y")]),
            ("p/**/**/d.*", [("p/x/y/d.png", "x/y")]),
            ("p/x/**", [("p/x/a.png", ""), ("p/x/y/d.png", "y")]),
            ("p/x*", [("p/x/a.png", "x"), ("p/x/y/d.png", "x/y")]),
            ("p/.h*", [("p/.h.png", "")]),
        ],
    )
    def test_patterns(self, pattern, expected):
        make("p/a.png", "p/b.png", "p/c.jpg", "p/x/a.png", "p/x/y/d.png", "p/x/n.txt", "p/.h.png")
        assert contents(pattern) == expected

    def test_the_same_file_counts_once(self):
        make("p/a.png", "p/b.png")
        assert contents("p/b.png", "p", "./p/a.png", "p/*") == [("p/b.png", ""), ("p/a.png", "")]
        make("p/x/c.png")
        assert contents("p/x/c.png", "p/x", "p")[0] == ("p/x/c.png", "")  # as it was named first

    def test_results_in_the_contents_folder_are_no_contents(self):
        make("p/a.png", "p/out/a_style.png", "p/out/x/b.png", "p/x/out/c.png")
        assert contents("p", output="p/out") == [("p/a.png", ""), ("p/x/out/c.png", "x/out")]
        assert contents("p/**/*.png", output="p/out") == [("p/a.png", ""), ("p/x/out/c.png", "x/out")]
        assert contents("p/*/*/*.png", output="p/out") == [("p/x/out/c.png", "x/out")]

    @pytest.mark.parametrize("word", ["out", "./out/", "out/x", "out/*.png", "out/x/**"])
    def test_contents_in_the_output_folder_are_refused(self, word):
        make("out/a.png", "out/x/b.png")
        with pytest.raises(OutputError, match="the output folder 'out': the results would be taken for pictures"):
            contents(word)

    def test_a_file_in_the_output_folder_may_be_named_and_styles_may_lie_there(self):
        make("a.png", "styles/s.png")
        assert contents("a.png", output=".") == [("a.png", "")]
        assert crossed(["a.png"], ["styles"], None, ".")[0].styles == (Style("styles/s.png"),)
        with pytest.raises(OutputError, match="style pictures, 'styles', is the output folder"):
            crossed(["a.png"], ["styles"], None, "styles")

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("missing.png", "there is no content 'missing.png'"),
            ("", "there is no content ''"),
            ("a\0b", r"there is no content 'a\\x00b'"),
            ("*.gif", r"'\*.gif' matches no picture"),
            ("empty", "'empty' has no picture in it; pictures end in .bmp,"),
            ("style.png/*.png", "matches no picture"),
            ("*/../../a.png", "has `..` behind its first"),  # its subfolder would be outside of the output folder
        ],
    )
    def test_a_word_that_leads_to_nothing_is_named(self, word, message):
        make("a.png", "empty/notes.txt")
        with pytest.raises(PictureError, match=message):
            contents("a.png", word)
        with pytest.raises(PictureError, match=message.replace("content", "style")):
            crossed(["a.png"], [word])

    @links
    def test_loops_of_links_come_to_an_end(self):
        make("p/a.png", "p/x/b.png", "q/c.png")
        os.symlink("..", "p/x/loop")
        os.symlink("../x", "p/x/again")
        os.symlink("../q", "p/other")
        os.symlink("gone.png", "p/broken.png")
        os.symlink("itself", "p/itself")
        expected = [("p/a.png", ""), ("p/broken.png", ""), ("p/other/c.png", "other"), ("p/x/b.png", "x")]
        assert contents("p") == sorted(expected)
        assert sorted(contents("p/**/*.png")) == sorted(expected)

    @links
    def test_an_output_folder_behind_a_link_is_known(self):
        make("p/a.png", "p/out/b.png")
        os.symlink("p/out", "results")
        assert contents("p", output="results") == [("p/a.png", "")]
        with pytest.raises(OutputError):
            contents("results", output="p/out")

    @links
    def test_a_folder_that_cannot_be_read_is_told(self, monkeypatch, caplog):
        make("p/a.png", "p/x/b.png")
        scandir = os.scandir

        def refusing(path):
            if path == "p/x":
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(worklist.os, "scandir", refusing)
        assert contents("p") == [("p/a.png", "")]
        (record,) = caplog.records
        assert record.getMessage() == ("the folder 'p/x' cannot be read (Permission denied); its pictures are left out")

    def test_a_million_pictures_are_the_limit(self, monkeypatch):
        monkeypatch.setattr(worklist, "_MOST_PICTURES", 3)
        make("a.png", "b.png", "c.png")
        assert len(crossed(["*.png"], ["a.png"])) == 3
        with pytest.raises(SettingError, match="3 contents with 2 styles are more than 3 pictures"):
            crossed(["*.png"], ["a.png", "b.png"])


def pairs(text, name="pairs.csv"):
    data = text if isinstance(text, bytes) else text.encode()
    with open(name, "wb") as file:
        file.write(data)
    return read_pairs(name)


class TestPairs:
    def test_all_columns(self):
        make("s.png:3")
        (first, second) = pairs(
            "\ufeffContent , STYLE,style,Style_Mask,style-mask,"
            "output,preset,content_weight,tv-weight,enlarge,size,init\r\n"
            '"a, b.png",s.png:2,s.png:3,all,m.png,x/y.jpg,fast,5,1e-3,TRUE,"40,30",start.png\r\n'
            "\r\n"
            ",,,,\r\n"
            "c.png, t.png\r\n"
        )
        assert first == Item(
            "a, b.png",
            (Style("s.png", 2.0), Style("s.png:3", 1.0, "m.png")),
            "",
            "x/y.jpg",
            {"alpha": 5.0, "tv_weight": 1e-3, "enlarge": True, "size": (40, 30), "init": "start.png"},
            "fast",
            "line 2 of 'pairs.csv'",
        )
        assert second == Item("c.png", (Style("t.png"),), "", None, {}, None, "line 5 of 'pairs.csv'")

    def test_columns_of_results_say_nothing(self):
        names = ",".join(worklist.RESULT_COLUMNS)
        values = ",".join("x" for _ in worklist.RESULT_COLUMNS)
        (item,) = pairs(f"content,style,alpha,{names}\nc,s,3,{values}\n")
        assert item.given == {"alpha": 3.0}
        with pytest.raises(SettingError, match="line 3 of 'pairs.csv' is cut: the batch that wrote it was stopped"):
            pairs(f"content,style,alpha,{names}\nc,s,3,{values}\nc,s,3,x\n")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "'pairs.csv' has no column 'content' .line 1.; the first line names the columns"),
            ("\n\nstyle\ns\n", "no column 'content' .line 3."),
            ("content\nc\n", "no column 'style'"),
            ("content,style\n", "'pairs.csv' asks for no picture: there is no row"),
            ("content,style,alhpa\nc,s,3\n", "line 1 of 'pairs.csv': there is no column 'alhpa'; did you mean alpha"),
            ("content;style\nc;s\n", "there is no column 'content;style'; commas must stand between the columns"),
            ("content,style,zzzzzz\n", "there is no column 'zzzzzz'; there are content, style, "),
            ("content,style,threads\nc,s,2\n", "the column 'threads' cannot be: it is one for the whole batch"),
            ("content,content,style\nc,c,s\n", "has the column 'content' 2 times"),
            ("content,style,alpha,content-weight\nc,s,1,1\n", "has the column 'alpha' 2 times"),
            ("content,style\nc\n", "line 2 of 'pairs.csv' has no style"),
            ("content,style\n,s\n", "line 2 of 'pairs.csv' has no content"),
            ("content,style\nc,s,t\n", "line 2 of 'pairs.csv' has 3 cells, and there are 2 columns"),
            ("content,style,\nc,s,t\n", "line 2 of 'pairs.csv': 't' stands in a column that has no name"),
            ("content,style,alpha\n\nc,s,x\n", "line 3 of 'pairs.csv', column 'alpha': --alpha must be .* not 'x'"),
            ("content,style,Enlarge\nc,s,yes\n", "column 'Enlarge': --enlarge must be True or False, not 'yes'"),
            (
                "content,style,preset\nc,s,slow\n",
                "line 2 of 'pairs.csv', column 'preset': preset must be .* not 'slow'",
            ),
            ("content,style\nc,s:-1\n", "line 2 of 'pairs.csv', column 'style': the weight of style 1 .* not -1.0"),
            ("content,style,style-mask,style-mask\nc,s,m,n\n", "line 2 of 'pairs.csv' has more masks than styles"),
            ("content,style,style,style-mask,style-mask\nc,s,,m,n\n", "has the mask 'n' in the place of a style"),
            ('content,style\n"c\nd,s\n', "line 2 of 'pairs.csv' is not in comma-separated values"),
            ("content,style\nc\0,s\n", "line 2 of 'pairs.csv' has a null character: save the table as CSV in UTF-8"),
            ("content,style\nc,s\n".encode("utf-16"), "line 1 of 'pairs.csv' has a null character"),
            ("content,style\ncaf\u00e9,s\n".encode("latin-1"), r"line 2 .*: 'caf\\udce9' is not UTF-8; save the table"),
        ],
    )
    def test_what_cannot_be_is_named_with_line_column_and_value(self, text, message):
        with pytest.raises(SettingError, match=message):
            pairs(text)

    @links
    def test_names_that_are_not_utf8_are_those_of_files(self):
        make(b"caf\xe9.png", "s.png")
        (item,) = pairs(b"content,style,output\ncaf\xe9.png,s.png,caf\xe9_s.png\n")
        assert (item.content, item.output) == ("caf\udce9.png", "caf\udce9_s.png")

    @pytest.mark.parametrize(
        ("path", "message"),
        [("missing.csv", "there is no table of pairs 'missing.csv'"), (".", "'.' is a folder; name a table of pairs")],
    )
    def test_what_is_no_file(self, path, message):
        with pytest.raises(SettingError, match=message):
            read_pairs(path)

    def test_files_and_tables_that_are_too_large_are_not_read(self, monkeypatch):
        make("sparse.csv")
        os.truncate("sparse.csv", worklist._LARGEST_TABLE + 1)
        with pytest.raises(SettingError, match="'sparse.csv' has more than 200 MB"):
            read_pairs("sparse.csv")
        for long in ("c" * 200_000 + ",s\n", '"' + "c\n" * 200_000):
            with pytest.raises(
                SettingError, match="line 2 of 'pairs.csv' is not in comma-separated values: field larger"
            ):
                pairs("content,style\n" + long)
        for text, line in (("," * 10**6 + "\n", 1), ("content,style\n" + "," * 10**6 + "\n", 2)):
            with pytest.raises(
                SettingError, match=f"line {line} of 'pairs.csv' has 1000001 characters, more than a row"
            ):
                pairs(text)
        monkeypatch.setattr(worklist, "_MOST_PICTURES", 2)
        assert len(pairs("content,style\na,s\nb,s\n")) == 2
        with pytest.raises(SettingError, match="'pairs.csv' asks for more than 2 pictures"):
            pairs("content,style\na,s\nb,s\nc,s\n")


ONE = Item("in/cat.jpg", (Style("styles/night.v2.png"),), "day 1")
TWO_STYLES = Item("in/cat.jpg", (Style("a.png"), Style("b/c.tif", 2.0)))
SETTINGS = Settings(size=48, alpha=0.5, init="in/start.png", weights="w/x.h5", seed=3)


class TestNames:
    @pytest.mark.parametrize(
        ("item", "pattern", "expected"),
        [
            (ONE, NAME, "out/day 1/cat_night.v2.png"),
            (TWO_STYLES, NAME, "out/cat_a+c.png"),
            (TWO_STYLES, "{content_type}_{style_type}_{style_folder}.png", None),
            (ONE, "{content}.{content_type}", "out/day 1/cat.jpg"),
            (ONE, "{content_folder}/{style}/{content}_{style_type}.png", "out/day 1/in/night.v2/cat_png.png"),
            (ONE, "{alpha}_{Content-Weight}_{size}_{tv_weight}_{seed}.png", "out/day 1/0.5_0.5_48_0_3.png"),
            (ONE, "{init}_{weights}.png", "out/day 1/in_start.png_w_x.h5.png"),
            (ONE, "{{{content}}}.png", "out/day 1/{cat}.png"),
            (ONE, "a/../{content}.png", "out/day 1/cat.png"),
            (ONE._replace(output="x/y.bmp"), "{content}", "out/x/y.bmp"),
            (ONE._replace(output="/abs/y.bmp"), "{content}", "/abs/y.bmp"),
            (ONE._replace(content="../cat.png", subfolder=""), "{content}.png", "out/cat.png"),
            (ONE._replace(content="x/..", subfolder=""), "x{content}{content}.png", "out/x.....png"),
        ],
    )
    def test_fields(self, item, pattern, expected):
        if expected is None:
            expected = f"out/jpg_png+tif_{os.path.basename(os.getcwd())}+b.png"
        assert output_of(item, pattern, SETTINGS, "out") == expected

    def test_the_folder_of_a_file_without_one_is_the_working_folder(self):
        name = os.path.basename(os.path.realpath("."))
        for path in ("cat.jpg", "./cat.jpg"):
            assert output_of(Item(path, ONE.styles), "{content_folder}.png", SETTINGS, "") == f"{name}.png"

    @pytest.mark.parametrize(
        ("item", "pattern", "message"),
        [
            (ONE, "{contnet}.png", "has a field that is not there, {contnet}; did you mean content"),
            (ONE, "{content.__class__}.png", "has a field that is not there"),
            (ONE, "{content[0]}.png", "has a field that is not there"),
            (ONE, "{}.png", "has a field that is not there, {}; there are content, style"),
            (ONE, "{content!r}.png", "has braces that are not those of a field"),
            (ONE, "{alpha:9}.png", "has braces that are not those of a field"),
            (ONE, "{content.png", "has braces that are not those of a field"),
            (ONE, "content}.png", "has braces that are not those of a field"),
            (ONE, "{content}", "has no extension: there would be 'cat'"),
            (ONE, "", "has no extension"),
            (ONE._replace(content="cat"), "{content}.{content_type}", "has no extension"),
            (ONE, "../{content}.png", "leads to '../cat.png', out of the output folder"),
            (ONE, "a/../../{content}.png", "out of the output folder"),
            (ONE, "/{content}.png", "out of the output folder"),
            (ONE._replace(content="x/.."), "{content}/x.png", "out of the output folder"),
            (ONE._replace(output="x", place="line 3 of 'p'"), "", "line 3 of 'p': the output 'x' has no extension"),
        ],
    )
    def test_what_cannot_be_a_name(self, item, pattern, message):
        with pytest.raises(SettingError, match=message):
            output_of(item, pattern, SETTINGS, "out")


def outputs(items, pattern=NAME):
    return [output_of(item, pattern, Settings(), "out") for item in items]


class TestDistinct:
    @pytest.mark.parametrize(
        ("one", "other", "remedy"),
        [
            (Item("a.jpg", ONE.styles), Item("a.png", ONE.styles), "give --name {content}_{style}_{content_type}.png"),
            (
                Item("x/a.jpg", ONE.styles),
                Item("y/a.jpg", ONE.styles),
                "give --name {content}_{style}_{content_folder}.png",
            ),
            (
                Item("a", (Style("s.jpg"),)),
                Item("a", (Style("s.png"),)),
                "give --name {content}_{style}_{style_type}.png",
            ),
            (
                Item("a", ONE.styles, given={"tv_weight": 1.0}),
                Item("a", ONE.styles, given={"tv_weight": 2.0}),
                "give --name {content}_{style}_{tv_weight}.png",
            ),
            (Item("x/d/a.jpg", ONE.styles), Item("y/d/a.jpg", ONE.styles), "make two batches of them"),
            (Item("a", ONE.styles, place="line 2"), Item("a", ONE.styles, place="line 3"), "leave out one of the two"),
            (
                Item("a", ONE.styles, output="a_night.v2.png", place="line 2"),
                Item("a", ONE.styles),
                "name different files in the column output",
            ),
        ],
    )
    def test_two_pictures_of_one_name(self, one, other, remedy):
        with pytest.raises(OutputError) as caught:
            check_distinct(outputs([one, other]), [one, other])
        message = str(caught.value)
        assert repr(one.content) in message and repr(other.content) in message and one.place in message
        assert remedy in message.replace('"', "")
        if remedy.startswith("give"):
            pattern = message.split('"')[1]
            assert len({output_of(item, pattern, Settings(**item.given), "") for item in (one, other)}) == 2

    def test_a_name_without_the_style(self):
        items = [Item("a.png", (Style(style),)) for style in ("s.png", "t.png")]
        with pytest.raises(OutputError, match='give --name "{content}_{style}.png"'):
            check_distinct(outputs(items, "{content}.png"), items)

    @links
    def test_links_to_one_file_are_one_file(self):
        make("out/a.png")
        os.symlink("a.png", "out/b.png")
        os.symlink("out", "other")
        items = [Item("x", ONE.styles, output=name) for name in ("a.png", "b.png", "c.png")]
        check_distinct(["out/a.png", "out/c.png"], items[:2])
        for two in (["out/a.png", "out/b.png"], ["out/c.png", "other/c.png"]):
            with pytest.raises(OutputError, match="would both be written"):
                check_distinct(two, items[:2])

    @pytest.mark.parametrize(
        "item",
        [
            Item("out/x.png", ONE.styles),
            Item("a.png", (Style("s.png"), Style("out/../out/x.png"))),
            Item("a.png", (Style("s.png", 1.0, "out/x.png"),)),
            Item("a.png", ONE.styles, given={"init": "out/x.png"}),
        ],
    )
    def test_what_the_batch_reads_is_not_written(self, item):
        other = Item("b.png", ONE.styles)
        with pytest.raises(OutputError, match="written to 'out/x.png', which the batch reads"):
            check_distinct(["out/y.png", "out/x.png"], [item, other])
        check_distinct(["noise", "out/z.png"], [item._replace(given={"init": "noise"}), other])


def test_the_time_goes_with_the_number_of_pictures(monkeypatch):
    """Files that are looked at are counted, and no file is looked at for each pair of pictures."""
    looked, realpath = [], os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda path: looked.append(path) or realpath(path))
    items = pairs("content,style,alpha\n" + "".join(f"in/{n}.png,s.png,{n % 7}\n" for n in range(1000)))
    check_distinct(outputs(items), items)
    assert len(looked) < 10
