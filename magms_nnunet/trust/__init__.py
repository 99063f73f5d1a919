"""How far a result can be trusted: by the evaluation of its subset, and by the probabilities of its network."""
