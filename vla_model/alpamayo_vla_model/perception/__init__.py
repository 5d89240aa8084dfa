"""What the driver knows of the world around it: objects in the images, tracks over time, the road along the route."""
