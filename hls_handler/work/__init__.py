"""Work: claims and processes deliveries, and the background threads of the service."""
