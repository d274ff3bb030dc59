"""The sandbox: a stand-in GitHub and Claude, and recorded payloads, for demo, check, render, send and tests."""
