"""Rules that people approve: Claude drafts them from stored decisions of people, and nothing is
written.
"""
