"""The test suite. `ROOT` is the folder of the repository, or of the unpacked source distribution."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
