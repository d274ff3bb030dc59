"""One module for each change of the tables, named after the version of HLS that introduced it."""
