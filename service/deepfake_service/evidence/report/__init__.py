"""The report in a bundle: one reading of `verdict.json`, from which all that it says is computed
once; `report.typ` and the page of an item print it.

Imports no database, blob store or settings. Begin in `report.py`.
"""
