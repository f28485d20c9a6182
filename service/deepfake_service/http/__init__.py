"""What every route shares: authentication, limits, uploads and error responses."""
