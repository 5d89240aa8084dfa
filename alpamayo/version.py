"""The version of the release, for the package and for the records of episodes."""

__version__ = "0.1.0"
