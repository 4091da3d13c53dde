"""The command line: what can be typed, and the commands that need no running bot."""
