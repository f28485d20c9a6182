"""The analyst console: pages made on the server, for the keyboard too, in two languages.

Imports `http` and the rooms, but not `api`. Begin in `pages.py` and `items.py`.
"""
