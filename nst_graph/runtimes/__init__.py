"""The runtimes of this package; `setup.cfg` registers them, and nothing imports them by name."""
