"""Texts, typesetting and the report, in Korean and English."""
