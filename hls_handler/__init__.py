"""HLS processes webhooks of GitHub with Claude: it sets labels and writes one comment for each
purpose.
"""

__version__ = "1.0.0"
