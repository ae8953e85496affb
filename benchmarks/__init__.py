"""Timings by hand; README.md beside this file says how."""
