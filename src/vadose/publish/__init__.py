"""What people look at: the page of `vadose view`, one file or from a small server."""
