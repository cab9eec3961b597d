"""What people look at and other programs read: the page of `vadose view`, and stores in the forms of others."""
