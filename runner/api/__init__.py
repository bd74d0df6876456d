"""What Python programs use: the same runs, images and containers as on the command line, as values."""
