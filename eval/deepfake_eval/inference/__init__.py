"""Score media with a bundle, in one or several processes, and turn verdicts into tables.

It may import ``datasets``. Begin at ``runner.score_all`` and ``predictions.assemble``.
"""
