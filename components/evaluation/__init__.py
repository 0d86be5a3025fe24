"""The gate on the model: its EvalConfig, its verdict, and measures of answers."""
