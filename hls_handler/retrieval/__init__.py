"""Texts of a repository that prompts may quote: sections of its documentation, and the words that
find them.
"""
