"""What tests share: generated media, small bundles, judged faces, a running service."""
