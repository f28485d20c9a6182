"""Evidence of an examination: its editions are issued and read here.

Imports `cases` and what is below. Begin in `store.py`; `bundle/` and `report/` need no database.
"""
