"""A sampling planner in the route's Frenet frame, for the expert in the true world and a driver in its belief."""
