"""Training files: read, checked, and counted in tokens."""
