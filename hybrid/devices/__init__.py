"""Circuits on devices: transpiled once, run as one job, priced before, read as values with errors."""
