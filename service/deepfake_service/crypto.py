"""Re-export `KeyWrapper` from its documented import path of release 0.2; use `storage.envelope`."""

from deepfake_service.storage.envelope import KeyWrapper

__all__ = ["KeyWrapper"]
