"""Prediction of other road users, and which of them the ego can see."""
