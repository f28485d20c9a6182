"""Whether what notices are about is gone: looks at posts, what they amount to, and statistics.

Imports `evidence` (for its signing keys), `post_pages` (for what a page says) and what is below.
Begin with ``looks.py``.
"""
