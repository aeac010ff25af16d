"""Vector stores: made and changed, filled with files, searched."""
