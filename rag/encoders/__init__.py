"""Models that read text: embedders and cross-encoders, found, exported once to graphs, and run without torch."""
