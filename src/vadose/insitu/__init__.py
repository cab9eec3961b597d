"""Station files and tables, screened, in one store, and matched to cells."""
