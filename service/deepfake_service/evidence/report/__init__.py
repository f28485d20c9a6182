"""The report in a bundle: one data class, which `report.typ` prints.

Imports no database, blob store or settings. Begin in `report.py`.
"""
