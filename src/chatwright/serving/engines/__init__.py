"""What computes the replies: our engine by default, others behind the same contract."""
