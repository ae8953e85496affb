"""`nst-graph runtimes`: which TensorFlow serves, and why the others cannot."""

import argparse
from typing import Any

from nst_graph import program
from nst_graph.cli.words import sentence
from nst_graph.runtimes import RUNTIME_VARIABLE, choose_runtime, find_runtimes, installed


def _runtimes(arguments: argparse.Namespace) -> None:
    versions = installed()
    print(f"TensorFlow {versions.tensorflow or 'is not installed'}, tf-keras {versions.tf_keras or 'is not installed'}")
    candidates = find_runtimes()
    for candidate in candidates:
        verdict = "can serve" if candidate.why_not is None else candidate.why_not
        print(f"{candidate.name} (from {candidate.source}): {verdict}")
    serving = choose_runtime().name
    print(f"{serving} serves")
    if any(candidate.why_not is None and candidate.name != serving for candidate in candidates):
        print(f"{RUNTIME_VARIABLE}=NAME chooses another")
    program.check_printed()


def add_to(commands: Any) -> None:
    """Add the subcommand to those of a parser."""
    about = "list the TensorFlow runtimes, the one that serves, and why the others cannot"
    commands.add_parser("runtimes", help=about, description=sentence(about)).set_defaults(run=_runtimes)
