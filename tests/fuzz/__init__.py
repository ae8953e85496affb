"""A fuzzer for everything that reads what may come from a stranger: `python -m tests.fuzz --help`."""
