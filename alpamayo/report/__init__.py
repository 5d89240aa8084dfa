"""Reports: pages, pictures and videos of episodes, pages of validations, and tables for the console."""
