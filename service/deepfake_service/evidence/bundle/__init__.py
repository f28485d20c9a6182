"""The format of evidence: build, sign, read, verify and score again one bundle.

Imports no database, blob store or settings. Begin in `builder.py` and `verification.py`.
"""
