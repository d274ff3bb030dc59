"""Claims and processes deliveries, and contains the background threads of the service."""
