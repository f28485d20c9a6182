"""What every room stands on: settings, database, storage, files, logs, texts, requests to others.

Imports no other room of the service. Begin in `settings.py`, `db/tables.py`, `storage/vault.py`.
"""
