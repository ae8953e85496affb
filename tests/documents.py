"""The documents and their programs, for the tests of them."""

import importlib.util

from tests import ROOT


def script(name):
    """Import a program of docs/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


#: The README; a command that goes on in the next line stands in one.
README = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")

#: Commands of its section Examples.
EXAMPLES = script("make_examples").commands(README)
