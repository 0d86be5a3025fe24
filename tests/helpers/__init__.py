"""What several test files use: made inputs, servers, small trainings."""
