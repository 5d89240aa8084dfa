"""The driver: Nemotron backbone, vision, reasoning and action expert."""
