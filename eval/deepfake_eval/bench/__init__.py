"""Measure how fast the scorer and the service are, against a naive loop in the same run.

It may import ``errors``, ``inference`` and ``deepfake_models``, and runs the service as a process
of its own. Begin at ``run.bench``.
"""
