"""Commands, answers, faces and delivery: everything people see."""
