"""Long-tail families and the roads that they happen on."""
