"""Networks in torch, their initial weights, and their graphs in ONNX.

May import config and errors.
Begin with ``create_backbone`` in ``backbone.py``; a frozen network is in ``class_tokens.py``.
"""
