"""Evidence: bundles that a platform or a court can read, and anybody can check offline."""
