"""GitHub and Claude, as this service speaks to them: our values in, our values or our errors out.

`github` and `claude` hold what a worker uses. No other room imports PyGithub or anthropic.
"""
