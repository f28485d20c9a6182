"""Media of a run: manifests, cut crops, splits, and the pairs that are made from them.

May import config and errors. Processes that draw pairs start without torch, which autoencoder.py
alone needs.
Begin with ``prepare.py``, which cuts the crops, and ``datasets.py``, which draws the pairs.
"""
