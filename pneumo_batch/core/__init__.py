"""The science: plain arguments in, arrays and tables out. Nothing here knows Ray, job files or run directories."""
