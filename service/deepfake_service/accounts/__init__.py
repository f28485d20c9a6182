"""Who may do what: accounts, keys, invitations, second factors, roles, and what a caller sees.

Imports `platform` and `audit`. Begin in `accounts.py` and `visibility.py`.
"""
