"""Texts in two languages, and what sets them in documents.

Imports nothing of the service but `errors`. Begin in `i18n.py` and `locale/`.
"""
