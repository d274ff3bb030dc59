"""Tables of what was done: what HLS did on GitHub and with Claude, corrections by people,
statistics and retention.
"""
