"""Uploads: a file that arrives in parts."""
