"""The sandbox: stand-ins for GitHub and Claude on this machine, for the demo, other commands and
tests.
"""
