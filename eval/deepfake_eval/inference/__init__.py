"""Score media with a bundle, in processes or on a cluster, and turn verdicts into tables.

It may import ``datasets``. Begin at ``runner.score_all`` and ``predictions.assemble``.
"""
