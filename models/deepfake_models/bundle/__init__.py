"""The bundle: its specification, its files, its graphs, and the types of the results that it gives.

May import ``machine`` and ``errors``. Begin with ``bundle.BundleSpec``, the content of a bundle.
"""
