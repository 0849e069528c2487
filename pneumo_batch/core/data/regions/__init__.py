"""Where films show their findings, as boxes and masks: of published sets, and in files of other tools.

A reader makes `outlines.Outline`s of a file, `table.build` the regions table of a run, `truth` the mask that a map is
compared with.
"""
