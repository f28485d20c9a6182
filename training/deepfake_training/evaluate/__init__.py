"""Cross-validate, calibrate and compare recipes."""
