"""Encrypted storage: blobs, sealed columns, and the keys to both."""

from deepfake_service.platform.storage.blobs import (
    BLOB_FOLDER,
    BlobMissing,
    Blobs,
    open_blobs,
    open_checkpoint_store,
)
from deepfake_service.platform.storage.epoch_keys import EpochKeys
from deepfake_service.platform.storage.sealed_columns import open_json, seal_json
from deepfake_service.platform.storage.vault import (
    MASTER_KEY_FILE,
    Stored,
    Vault,
    context_of,
    installation_secret,
    open_case_keys,
    open_keys,
    open_vault,
    rewrapped,
)
