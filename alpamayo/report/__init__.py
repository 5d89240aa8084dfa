"""Results to read: pages, pictures and videos of episodes, pages of evaluations, and tables on the console."""
