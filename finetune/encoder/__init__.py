"""Tuning of embedders."""
