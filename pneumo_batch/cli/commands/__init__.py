"""The commands, by what they are about. Each parses, loads, calls one function and prints; nothing heavy is imported
before it is needed, so that --help answers at once.
"""
