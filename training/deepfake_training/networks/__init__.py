"""Backbones, heads and their pretrained weights."""
