"""What memory a training takes, and how it is made to fit."""
