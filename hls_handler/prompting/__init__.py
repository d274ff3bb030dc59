"""The prompt library: loading, checking and rendering templates. Untrusted text never becomes
template source.
"""
