"""Timings that are run by hand. README.md in this folder lists them."""
