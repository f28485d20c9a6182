"""Measure a recipe by runs that hold something out, and fit calibrations and thresholds.

May import train and everything below it.
Begin with ``run_splits`` in ``crossvalidate.py`` and ``fit_levels`` in ``calibrate.py``.
"""
