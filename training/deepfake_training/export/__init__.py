"""Export a run as a sealed bundle, with its error rates and its model card.

May import every other room but the command line.
Begin with ``export`` in ``bundle.py``.
"""
