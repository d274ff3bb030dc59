"""The prompt library: a folder of templates, checked whole, and rendered without a stranger's text inside."""
