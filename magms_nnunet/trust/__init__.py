"""The trust in a result, by the evaluation of its subset and by the probabilities of its network."""
