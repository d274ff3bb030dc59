"""Text of strangers, and the ways in which it may be shown: to Claude, on GitHub, in a log."""
