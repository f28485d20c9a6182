"""Fits a timm backbone on face crops and exports it as a bundle. The only room with torch."""
