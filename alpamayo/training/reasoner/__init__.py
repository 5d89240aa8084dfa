"""Training of the reasoner: drives of the belief planner without cameras, labels by removal, loop and evaluation."""
