"""Write results folders: HTML reports, each one self-contained file, and tables for papers.

It may import ``analysis``. Begin at ``results.write_results``.
"""
