"""The command `nst-graph`."""

import argparse
from typing import Optional, Sequence

from nst_graph import __version__, program
from nst_graph.runtime import choose_runtime, find_runtimes, installed


def _runtimes() -> None:
    versions = installed()
    print(f"TensorFlow {versions.tensorflow or 'is not installed'}, tf-keras {versions.tf_keras or 'is not installed'}")
    for candidate in find_runtimes():
        verdict = "can serve" if candidate.why_not is None else candidate.why_not
        print(f"{candidate.name} (from {candidate.source}): {verdict}")
    print(f"{choose_runtime().name} serves")


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the command's name; by default those of this process.
    """
    program.set_up()
    parser = argparse.ArgumentParser(prog="nst-graph", description="Neural style transfer as a TensorFlow 1 graph.")
    parser.add_argument("--version", action="version", version=f"nst_graph {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    about = "list the TensorFlow runtimes found, which one serves, and why the others do not"
    commands.add_parser("runtimes", help=about, description=f"{about[0].upper()}{about[1:]}.").set_defaults(
        run=_runtimes
    )
    parser.parse_args(arguments).run()
