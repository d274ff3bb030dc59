"""The prompt library: loading, checking and rendering templates, with untrusted text kept out of them."""
