"""One network from cameras to reasoning and plans: vision, Nemotron backbone and a flow-matching action expert."""
