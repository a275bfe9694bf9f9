"""What a bank of tasks is made of: keys, stores, and what is kept of each task."""
