"""Prediction of agents, and their visibility to the ego."""
