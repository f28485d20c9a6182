"""What every route shares: authentication, limits, uploads and error responses.

Imports the rooms and `container`. Begin in `auth.py` and `problems.py`.
"""
