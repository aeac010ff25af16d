"""How well retrieval and answering do on collections whose right answers are known."""
