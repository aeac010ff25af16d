"""Whether serving is the model that was trained."""
