"""Describes deliveries and replies: as sentences for people, and as JSON for programs."""
