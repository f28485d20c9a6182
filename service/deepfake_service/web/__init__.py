"""The analyst console: pages made on the server, for the keyboard too, in two languages."""
