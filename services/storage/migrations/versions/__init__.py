"""One file a step. There is no downgrade: the way back is a backup."""
