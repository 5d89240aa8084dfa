"""Drivers on other machines, by AlpaSim's egodriver contract: serve ours, drive with foreign ones, check either."""
