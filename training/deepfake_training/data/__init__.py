"""Media of a run: manifests, cut crops, splits, and the pairs that are made from them.

May import config and errors, never torch: processes that draw pairs start without it.
Begin with ``prepare.py``, which cuts the crops, and ``datasets.py``, which draws the pairs.
"""
