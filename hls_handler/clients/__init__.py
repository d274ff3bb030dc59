"""Clients for GitHub and Claude: they take and return HLS's values, and raise HLS's errors.

Workers use the modules `github` and `claude`. No other package imports PyGithub or anthropic.
"""
