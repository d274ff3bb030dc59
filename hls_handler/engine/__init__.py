"""Claims and processes deliveries: asks Claude, posts to GitHub, and retries."""
