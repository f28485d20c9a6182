"""Whether what notices are about is gone: looks at posts, what they amount to, and statistics.

Imports ``capture`` (for what a page says), ``evidence`` (for its signing keys) and the rooms below.
Begin with ``looks.py``.
"""
