"""`python -m nst_graph` is the command `nst-graph`."""

from nst_graph.cli import main

main()
