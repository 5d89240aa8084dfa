"""The long tail of driving: simulate the rare scene, drive it, score what was decided."""
