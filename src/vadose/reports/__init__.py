"""Pages, figures, and the tables of the two papers."""
