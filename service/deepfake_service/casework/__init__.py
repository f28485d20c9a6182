"""What happens to what is submitted: taken in, examined, read, and forgotten."""
