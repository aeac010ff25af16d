"""Files: uploaded, listed, downloaded, deleted."""
