"""Where sealed bytes lie, and who can open them."""

from deepfake_service.storage.blobs import BLOB_FOLDER, BlobMissing, Blobs, ObjectBlobs, open_blobs
from deepfake_service.storage.vault import Stored, Vault, context_of, open_keys, secret_context

__all__ = [
    "BLOB_FOLDER",
    "BlobMissing",
    "Blobs",
    "ObjectBlobs",
    "Stored",
    "Vault",
    "context_of",
    "open_blobs",
    "open_keys",
    "secret_context",
]
