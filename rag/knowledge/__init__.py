"""The knowledge graph of a store: what its passages name, how that hangs together, and what is found over it."""
