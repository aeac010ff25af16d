"""One training, from its material to the folder of the tuned model."""
