"""Training of the driver ``end-to-end``: episodes of the expert and its own, training in rounds, open-loop scores."""
