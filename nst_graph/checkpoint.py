"""The whole state of a run, to a file and back."""

import zipfile
from typing import Any, Dict, NamedTuple, Tuple

import numpy as np

from nst_graph.errors import CheckpointError
from nst_graph.files import replacing
from nst_graph.record import Record, from_text, to_text

#: Names of optimisers' arrays in the file begin with this.
_OPTIMISER = "optimiser/"


class State(NamedTuple):
    """All that the rest of a run depends on, besides its settings, stages, weights and pictures.

    Random numbers are drawn before the first step alone, from the seed in the settings.

    Attributes
    ----------
    iteration : int
        Training steps done, from the beginning of the run.
    image : ndarray
        float32 (1, h, w, 3): the generated image, preprocessed, at the size of its stage.
    optimiser : dict of str to ndarray
        State of the optimiser.
    """

    iteration: int
    image: np.ndarray
    optimiser: Dict[str, np.ndarray]


def write_checkpoint(path: str, state: State, record: Record) -> None:
    """Write a checkpoint, whole or not at all.

    Parameters
    ----------
    path : str
        The file; a file that is there is replaced when the new one is complete. It is in NumPy's format .npz, whatever
        its name is: the arrays as they are, and the record as JSON.
    state : State
        Of the run.
    record : Record
        What the run is: settings and pictures.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    arrays: Dict[str, Any] = {_OPTIMISER + name: array for name, array in state.optimiser.items()}
    arrays["record"] = np.frombuffer(to_text(record).encode(), np.uint8)
    # savez adds .npz to a name, but not to an open file.
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, iteration=np.int64(state.iteration), image=state.image, **arrays)


def read_checkpoint(path: str) -> Tuple[State, Record]:
    """Read a checkpoint that `write_checkpoint` wrote.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    state : State
        State of the run.
    record : Record
        What the run is.

    Raises
    ------
    CheckpointError
        If the file is missing, cannot be read, is damaged or is something else.
    """
    try:
        # An archive that cannot be opened leaves NumPy 1 with an object whose end is a traceback on standard error.
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as arrays:
            record = from_text(bytes(arrays["record"]).decode(), path)
            state = State(
                int(arrays["iteration"]),
                arrays["image"],
                {name[len(_OPTIMISER) :]: arrays[name] for name in arrays.files if name.startswith(_OPTIMISER)},
            )
    except OSError as error:
        if error.errno is None:  # NumPy's own: no file of its formats
            raise CheckpointError(f"{path!r} is not a checkpoint, or is damaged") from None
        raise CheckpointError(f"the checkpoint {path!r} cannot be read: {error.strerror}") from None
    # Neither NumPy nor zipfile documents what it raises for a damaged file: a dozen kinds were seen.
    except Exception:
        raise CheckpointError(f"{path!r} is not a checkpoint, or is damaged") from None
    if state.iteration < 0 or state.image.dtype != np.float32 or state.image.ndim != 4:
        raise CheckpointError(f"{path!r} is not a checkpoint, or is damaged")
    return state, record
