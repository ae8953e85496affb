"""Sphinx: the pages are the docstrings. `sphinx-build -W docs/api build/api` builds them, without a network."""

import importlib
import inspect
import re
import sys
import types

from numpydoc import xref
from sphinx.util.inspect import stringify_signature

import nst_graph
import nst_graph.transfer
from nst_graph import runtimes

project = "nst_graph"
author = "the authors of nst_graph"
release = version = nst_graph.__version__

extensions = ["sphinx.ext.autodoc", "numpydoc"]
html_theme = "furo"  # readable on a phone, with the contents of each page beside it
html_title = f"nst_graph {release}"
html_show_copyright = html_show_sphinx = html_copy_source = False

# What stands in backticks links to its page where it is one of our names. Otherwise it is code: a value, a file, a
# shape. That is why the build is not nitpicky (`-n`); a test checks that every `nst_graph...` in a docstring is there.
default_role = "py:obj"
smartquotes = False  # two hyphens are an option's, and quotes those of a text

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # types stand in the text, in words that give shapes and dtypes too
maximum_signature_line_length = 88

numpydoc_show_class_members = False  # autodoc shows them, each with its own text
numpydoc_xref_param_type = True
numpydoc_xref_aliases = {
    **{name: f"nst_graph.{name}" for name in nst_graph.__all__},
    "Candidate": "nst_graph.runtimes.Candidate",
    "Carried": "nst_graph.metadata.Carried",
    "File": "nst_graph.record.File",
    "Inputs": "nst_graph.inputs.Inputs",
    "Installed": "nst_graph.runtimes.Installed",
    "NetworkSession": "nst_graph.session.NetworkSession",
    "Optimiser": "nst_graph.optimisers.Optimiser",
    "PictureFile": "nst_graph.inputs.PictureFile",
    "Record": "nst_graph.record.Record",
    "Runtime": "nst_graph.runtimes.Runtime",
    "Source": "nst_graph.inputs.Source",
}
numpydoc_xref_ignore = "all"
xref.DEFAULT_LINKS.clear()  # they lead to pages of Python and NumPy, whose indexes are not here

# A docstring that breaks one of numpydoc's rules is a warning, which -W makes an error. These are off:
numpydoc_validation_checks = {
    "all",
    "ES01",  # no text after the first line: where that says everything
    "EX01",  # no example: tests/unit/test_docstrings.py knows which names must have one
    "GL01",  # text begins on the line of the quotes
    "GL02",  # and may end on it
    "PR08",  # a description begins with a small letter: with a dtype, `float32 (1, h, w, 3)`
    "RT04",  # as PR08
    "SA01",  # no section See Also: the text links to what belongs to a thing
}

_ONE_LINE = r"\A[^\n]*\Z"  # it names and describes all that goes in and comes out
_NAMED_TUPLE = r"\A(?![\s\S]*\n *Parameters\n)[\s\S]*\n *Attributes\n"  # its fields are parameters too, described once
_CONSTANTS = r"\*\*constants\n"  # the signature has each of them by name; `Settings` describes them
numpydoc_validation_overrides = {
    "PR01": [_ONE_LINE, _NAMED_TUPLE, _CONSTANTS],
    "PR02": [_CONSTANTS],
    "RT01": [_ONE_LINE, r"\n *Yields\n"],
}


def _import_without_tensorflow(name):
    """Import a module that imports TensorFlow at once, with something empty in its place: that would take seconds."""
    get_runtime = runtimes.get_runtime
    runtimes.get_runtime = lambda: types.SimpleNamespace(version="2.0")
    sys.modules["tensorflow"] = types.ModuleType("tensorflow")
    importlib.import_module(name)
    del sys.modules["tensorflow"]
    runtimes.get_runtime = get_runtime


_import_without_tensorflow("nst_graph.tf2")


def _skip_alias(app, what, name, obj, skip, options):
    """Leave out what Python says of a named tuple's fields: the class describes them under Attributes."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def _signature(app, what, name, obj, options, signature, returned):
    """Give `Settings` the signature of its constants, and a default that is a function its name, or three dots."""
    if name != "nst_graph.Settings":
        signature = re.sub(r"<function \S*<lambda>>", "...", signature or "")
        return re.sub(r"<function (\w+)>", r"\1", signature) or None, returned
    own = inspect.signature(obj.__init__)
    constants = [one.replace(kind=one.KEYWORD_ONLY) for one in list(own.parameters.values())[1:]]
    return stringify_signature(own.replace(parameters=constants), show_annotation=False), None


def _public_name(app, env, node, contnode):
    """Link to the one place of a public name, from whatever module it is named in and with whatever path to it."""
    path, _, name = node.get("reftarget", "").rpartition(".")
    target = f"nst_graph.{name}"
    is_public = node.get("refdomain") == "py" and name in nst_graph.__all__ and node["reftarget"] != target
    if not is_public or not (path or name[0].isupper()):  # `content_cost` may be the name of a column
        return None
    return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, contnode)


def setup(app):
    """Connect what the functions above do."""
    app.connect("autodoc-skip-member", _skip_alias)
    app.connect("autodoc-process-signature", _signature)
    app.connect("missing-reference", _public_name)
