"""Captures: pages that other tools or people recorded, read in the sandbox, signed and offered.

Imports `examination` and what is below. Begin in `captures.py` and `imports.py`, then
`archives.py`.
"""
