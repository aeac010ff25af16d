"""PostgreSQL as the database: what of it differs from SQLite, and indexes that are kept and searched in it."""
