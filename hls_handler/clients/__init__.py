"""Clients for GitHub and Claude: they take and return objects of HLS's own classes, and raise HLS's
own errors.

Workers use the modules `github` and `claude`. No other package imports anthropic.
"""
