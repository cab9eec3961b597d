"""Writers of the simulated world: one file a product family, in the containers, names and flags as published."""
