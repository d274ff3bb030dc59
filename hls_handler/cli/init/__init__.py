"""`hls init`: from nothing to a settings file, with a GitHub App or a token."""
