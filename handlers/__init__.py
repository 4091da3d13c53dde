"""Commands, answers, platforms and delivery: everything users see."""
