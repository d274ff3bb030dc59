"""Git: the mirrors of repositories."""
