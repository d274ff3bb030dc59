"""Tests that kill the service at each commit and request, and compare the result with an
undisturbed run.
"""
