"""The stages of a run: a module each (stage.py says what that is), and what they share."""
