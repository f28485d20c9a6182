"""Fit a network by gradient, or heads on the features of a frozen one, and resume runs.

May import heads, networks and data.
Begin with ``fit`` in ``loop.py``; heads are fitted in ``frozen.py``.
"""
