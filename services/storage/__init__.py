"""State: one SQL database as the one truth, and content-addressed blobs beside it."""
