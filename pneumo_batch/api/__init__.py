"""What notebooks call beside `Run`: a whole run, and the test of networks in memory."""
