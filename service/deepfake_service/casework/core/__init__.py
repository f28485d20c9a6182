"""Records and rules that the services of casework share."""
