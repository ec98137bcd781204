"""What people think of replies: votes, battles and rankings, kept for the next model to learn from."""
