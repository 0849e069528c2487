"""What a paper about a run needs: the methods in words with their references, a table of results, and CLAIM's items."""
