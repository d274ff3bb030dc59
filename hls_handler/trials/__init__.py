"""Comparing prompts: runs stored deliveries again, and compares the results."""
