"""What is predicted and how the loss is counted, one file an objective."""
