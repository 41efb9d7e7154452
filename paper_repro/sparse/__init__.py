"""What sparse plus low-rank adaptation costs."""
