"""Writers of the simulated world: one file a product family, in the containers, names and flags as published.

A writer takes the daily truth (time, y, x) and a folder, made if need be, and gives the files, or the folders of
scenes, in order of time. Its docstring says what else it takes.
"""
