"""The viewer: a local page with the episodes of a run or a suite."""
