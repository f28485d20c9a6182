"""What a score means: decoding, faces, crops, classification, calibration and the verdict.

Everything that can change a score lives in this package and is parameterised by a bundle's
``bundle.json``. It imports neither torch nor anything that speaks HTTP.
"""
