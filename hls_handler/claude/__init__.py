"""The services that answer prompts. No other package imports anthropic."""
