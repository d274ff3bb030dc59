"""GitHub: requests through PyGithub, values, and writes. Raises HLS's own errors."""
