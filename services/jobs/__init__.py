"""Work in the background: the database is the queue."""
