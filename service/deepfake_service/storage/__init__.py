"""Encrypted storage: blobs, sealed columns, and the keys to both."""

from deepfake_service.storage.blobs import BLOB_FOLDER, BlobMissing, Blobs, open_blobs
from deepfake_service.storage.installation_secrets import installation_secret
from deepfake_service.storage.sealed_columns import open_json, seal_json
from deepfake_service.storage.vault import Stored, Vault, context_of, open_keys, secret_context

__all__ = [
    "BLOB_FOLDER",
    "BlobMissing",
    "Blobs",
    "Stored",
    "Vault",
    "context_of",
    "installation_secret",
    "open_blobs",
    "open_json",
    "open_keys",
    "seal_json",
    "secret_context",
]
