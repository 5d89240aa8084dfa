"""The reasoner: a language model that reads what the driver believes, and utters the decision and its causes."""
