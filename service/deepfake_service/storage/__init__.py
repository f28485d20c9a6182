"""Where sealed bytes lie, and who can open them."""

from deepfake_service.storage.blobs import Blobs, ObjectBlobs, open_blobs
from deepfake_service.storage.vault import Stored, Vault, open_keys

__all__ = ["Blobs", "ObjectBlobs", "Stored", "Vault", "open_blobs", "open_keys"]
