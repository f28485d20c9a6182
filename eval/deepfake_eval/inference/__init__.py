"""Score data sets with a bundle."""
