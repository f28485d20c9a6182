"""Where sealed bytes lie, and who can open them."""

from deepfake_service.storage.blobs import BlobMissing, Blobs, ObjectBlobs, open_blobs
from deepfake_service.storage.vault import Stored, Vault, context_of, open_keys

__all__ = [
    "BlobMissing",
    "Blobs",
    "ObjectBlobs",
    "Stored",
    "Vault",
    "context_of",
    "open_blobs",
    "open_keys",
]
