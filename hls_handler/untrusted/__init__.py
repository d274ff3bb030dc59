"""Untrusted text, and how it is prepared for prompts, GitHub comments and logs."""
