"""The console: web pages for the operator."""
