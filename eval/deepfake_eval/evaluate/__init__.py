"""Measure a bundle (``run``), any other detector (``detector``), or a bundle on degraded media.

It may import ``reporting``, ``analysis``, ``inference`` and ``datasets``. Begin at ``run.run``.
"""
