"""Engines: what writes the text of an answer."""
