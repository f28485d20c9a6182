"""Accounts, keys and the audit log."""
