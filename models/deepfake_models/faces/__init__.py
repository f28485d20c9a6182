"""Faces: find them in pictures, link them into tracks, cut and measure their crops.

May import ``bundle``. Begin with ``detection.Detection`` and ``crops.crop_faces``.
"""
